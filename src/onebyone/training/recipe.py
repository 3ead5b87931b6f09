"""How a network is trained, as data: recipes by name, and which one a data set asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

from onebyone.errors import ShapeError, UnknownNameError, check_choice, did_you_mean
from onebyone.models.reference import SUFFIX

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "one-cycle"]
Precision = Literal["32", "16", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """How images are changed at random while a network trains; by default, not at all.

    Attributes:
        flip: Whether half of the images are mirrored, left to right.
        pad: Black pixels that are put around an image before one of its size is cut out anywhere.
        crop_scale: Least and greatest share of an image's area that is cut out and scaled up to its
            size; None for no such crop.
        crop_ratio: Least and greatest width over height of what is cut out.
        mixup: How far pairs of images are mixed: the share of the first is drawn from
            Beta(mixup, mixup); 0 for not at all. Pairs are of one process.

    Raises:
        ShapeError: If a number makes no sense.
    """

    flip: bool = False
    pad: int = 0
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ShapeError(f"`pad` (={self.pad}) must be 0 or more")
        if self.crop_scale and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ShapeError(
                f"`crop_scale` (={self.crop_scale}) must be two shares above 0 and up to 1, the "
                "smaller first"
            )
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ShapeError(
                f"`crop_ratio` (={self.crop_ratio}) must be two numbers above 0, the smaller first"
            )
        if not 0 <= self.mixup < float("inf"):
            raise ShapeError(f"`mixup` (={self.mixup}) must be a finite number, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides how a network is trained, besides the network, the data and the seed.

    Attributes:
        epochs: How often each example is seen.
        batch_size: Images in a step, over all processes; so it is the same recipe on any number.
        optimizer: "sgd" or "adamw".
        learning_rate: The greatest rate of the schedule.
        rate_images: The batch size that `learning_rate` is meant for: it grows in proportion to the
            real one. None for a rate that stays as it is.
        momentum: Of SGD, or AdamW's first beta.
        nesterov: Whether SGD looks ahead along its momentum.
        weight_decay: Pull of the weights towards zero; norms' parameters and biases feel none.
        schedule: How the rate rises and falls over the steps: "cosine" or "one-cycle".
        warmup: Share of the steps in which it rises.
        label_smoothing: Share of the target that is spread over all classes.
        ema_decay: Share of the old in the running average of the weights, which is then what is
            measured and kept; 0 for no average.
        clip_norm: Greatest norm of all gradients together; None for no limit.
        augment: How images are changed at random.
        precision: "32", or the 16-bit format of the multiplications: "bf16" or "16" (float16).

    Raises:
        ShapeError: If a number is outside of what makes sense.
        UnknownNameError: If a word is none that it may be.
    """

    epochs: int
    batch_size: int = 128
    optimizer: OptimizerName = "sgd"
    learning_rate: float = 0.1
    rate_images: int | None = None
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: ScheduleName = "cosine"
    warmup: float = 0.1
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    clip_norm: float | None = None
    augment: Augment = field(default_factory=Augment)
    precision: Precision = "32"

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, get_args(OptimizerName))
        check_choice("schedule", self.schedule, get_args(ScheduleName))
        check_choice("precision", self.precision, get_args(Precision))
        for name in ("epochs", "batch_size", "rate_images"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ShapeError(f"`{name}` (={number}) must be at least 1")
        for name in ("learning_rate", "clip_norm"):
            number = getattr(self, name)
            if number is not None and not (isfinite(number) and number > 0):
                raise ShapeError(f"`{name}` (={number}) must be a finite number above 0")
        if not (isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ShapeError(f"`weight_decay` (={self.weight_decay}) must be 0 or a number above")
        for name in ("momentum", "warmup", "label_smoothing", "ema_decay"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ShapeError(f"`{name}` (={share}) must be at least 0 and below 1")

    @property
    def peak_rate(self) -> float:
        """The greatest learning rate, for this batch size."""
        if self.rate_images is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.rate_images


RECIPES: dict[str, Recipe] = {
    # 8 x 8 pixels and 1,400 images: many short epochs; a digit that is mirrored is no digit.
    "digits": Recipe(
        epochs=20,
        batch_size=32,
        learning_rate=0.1,
        schedule="one-cycle",
        warmup=0.3,
        label_smoothing=0.1,
        augment=Augment(pad=1),
    ),
    # 28 grey pixels: the usual crop and flip. One cycle of a high rate reaches in eight epochs what
    # steps down take a hundred for (Smith and Topin, arXiv 1708.07120).
    "small-images": Recipe(
        epochs=8,
        learning_rate=0.2,
        schedule="one-cycle",
        warmup=0.3,
        augment=Augment(flip=True, pad=2),
    ),
    # 32 pixels in colours, and classes that vary more: longer, and moved further.
    "small-photos": Recipe(
        epochs=40,
        learning_rate=0.2,
        schedule="one-cycle",
        warmup=0.3,
        augment=Augment(flip=True, pad=4),
    ),
    # Images that change their meaning in a mirror.
    "small-digits": Recipe(
        epochs=5,
        learning_rate=0.2,
        schedule="one-cycle",
        warmup=0.3,
        augment=Augment(pad=2),
    ),
    # Photos from a random start: SGD with the rate of Goyal et al. (arXiv 1706.02677), the crops of
    # Inception, label smoothing, cosine.
    "imagenet": Recipe(
        epochs=90,
        batch_size=256,
        learning_rate=0.1,
        rate_images=256,
        weight_decay=1e-4,
        schedule="cosine",
        warmup=0.05,
        label_smoothing=0.1,
        augment=Augment(flip=True, crop_scale=(0.08, 1.0)),
    ),
    # Published weights on a few new photos: small steps, cautious crops, an average that smooths.
    "fine-tune": Recipe(
        epochs=10,
        batch_size=32,
        optimizer="adamw",
        learning_rate=1e-4,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.1,
        label_smoothing=0.1,
        ema_decay=0.998,
        clip_norm=1.0,
        augment=Augment(flip=True, crop_scale=(0.35, 1.0)),
    ),
}
"""Recipes by name."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What a data set is usually trained with.

    Attributes:
        model: A network of the zoo.
        recipe: A name in `RECIPES`.
    """

    model: str
    recipe: str


USUAL: Mapping[str, Usual] = {
    "digits": Usual("resnet20", "digits"),
    "mnist": Usual("resnet20", "small-digits"),
    "fashion-mnist": Usual("resnet20", "small-images"),
    "cifar10": Usual("resnet20", "small-photos"),
}
"""Network and recipe by the name of the data, or by what stands before its first colon."""

OTHERWISE = Usual("resnet50", "imagenet")
"""What other data, such as a user's own photos, is trained with from a random start."""

FROM_WEIGHTS = Usual("resnet50", "fine-tune")
"""The same from weights that are named: the high rates of a random start would undo them."""


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: If there is none; names those there are.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise UnknownNameError(
            f"no recipe {name!r}{did_you_mean(name, RECIPES) or ';'} there are {known}"
        )
    return RECIPES[name]


def usual_for(
    data: str, *, model: str | Path | None = None, weights: str | Path | None = None
) -> Usual:
    """Return what a data set is usually trained with.

    Args:
        data: What a user calls it.
        model: What a user calls the network, if one is named; a checkpoint has weights.
        weights: Where to start from, if that is named.

    Example:
        >>> usual_for("fashion-mnist:folder").recipe
        'small-images'
        >>> usual_for("imagefolder:photos", weights="imagenet").recipe
        'fine-tune'
    """
    has_weights = weights is not None or str(model).endswith(SUFFIX)
    return USUAL.get(data.partition(":")[0], FROM_WEIGHTS if has_weights else OTHERWISE)
