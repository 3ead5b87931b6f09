"""From photos to named classes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from onebyone.errors import ModelError, ShapeError, located_summary
from onebyone.models.card import ModelCard

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class that a photo may show.

    Attributes:
        index: Number of the class, from 0.
        label: Its name; "class 7" if nobody has named it.
        probability: The network's probability for it.
    """

    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network sees in one photo.

    Attributes:
        top: The most probable classes, the best first.
        seconds: Time that the network took, without reading and preparing the photo.
    """

    top: tuple[ClassScore, ...]
    seconds: float


def predict(
    network: Callable[[Tensor], Any], card: ModelCard, photo: "Image.Image", *, top: int = 5
) -> Prediction:
    """Name the most probable classes of one photo.

    Args:
        network: Turns `(1, 3, H, W)` into scores `(1, classes)`; in evaluation mode.
        card: How to prepare the photo, and what the classes are called.
        photo: The photo, in RGB (see `open_photo`).
        top: How many classes to name; fewer come if the network has fewer.

    Raises:
        ModelError: If the network does not turn one photo into one row of finite scores.
        PhotoError: If the photo is not in RGB.
        ShapeError: If `top` is less than 1.
    """
    return predict_prepared(network, card, card.preprocess(photo), top=top)


@torch.inference_mode()
def predict_prepared(
    network: Callable[[Tensor], Any], card: ModelCard, prepared: Tensor, *, top: int = 5
) -> Prediction:
    """Name the most probable classes of one photo that `card.preprocess` has prepared.

    Raises:
        ModelError: As `predict`.
        ShapeError: As `predict`.
    """
    if top < 1:
        raise ShapeError(f"`top` (={top}) must be at least 1")
    batch = prepared[None]
    start = time.perf_counter()
    scores = _scores(network, batch)
    seconds = time.perf_counter() - start
    return Prediction(name_classes(scores, card, top=top), seconds)


def name_classes(scores: Tensor, card: ModelCard, *, top: int = 5) -> tuple[ClassScore, ...]:
    """Name the most probable classes of one photo whose scores are known, the best first.

    Args:
        scores: What the network gave for it, `(classes,)`: a row of a batch.
        card: What the classes are called.
        top: How many to name; fewer come if there are fewer.

    Raises:
        ModelError: If the scores are not finite real numbers.
    """
    _check_finite(scores)
    best = scores.float().softmax(0).topk(min(top, len(scores)))
    return tuple(
        ClassScore(index, _label(card, index), probability)
        for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def _scores(network: Callable[[Tensor], Any], batch: Tensor) -> Tensor:
    try:
        output = network(batch)
    except (Exception, SystemExit) as error:  # it may be anybody's code
        raise ModelError(
            f"the network fails on an input of shape {tuple(batch.shape)}: {located_summary(error)}"
        ) from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1 or not output.numel():
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(
            f"scores of shape (1, classes) were wanted for one photo, and {came} came; "
            "a classifier was wanted"
        )
    return output[0]


def _check_finite(scores: Tensor) -> None:
    if not scores.is_floating_point() or not scores.isfinite().all():
        raise ModelError("the network's scores are not finite real numbers; check its weights")


def _label(card: ModelCard, index: int) -> str:
    return card.classes[index] if index < len(card.classes) else f"class {index}"
