"""What a user gives as images, as one tensor of those that a network is decided on."""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from onebyone.errors import ShrinkError, first_line
from onebyone.training.data.data import Data

LIMIT = 512
"""Images that are looked at, unless a user asks for more: with four times as many, networks came
out no better."""

BATCH = 64

CalibrationSource = Tensor | Data | Iterable[Tensor] | Iterable[tuple[Tensor, Tensor]]
"""Images `(N, C, H, W)`, labelled data of a training, or batches of images, perhaps with labels."""


def calibration_images(
    source: CalibrationSource, *, limit: int = LIMIT, network: nn.Module | None = None
) -> Tensor:
    """Return images that a network is decided on, `(N, C, H, W)`; labels are left out.

    Args:
        source: The images. Of a tensor, some are taken evenly; of data to train on, some at random;
            of batches, the first.
        limit: How many at most.
        network: What is to run on them, which is tried; in any mode.

    Raises:
        ShrinkError: If there are fewer than two, they are of different sizes, or hold what is no
            number, or nothing that varies; or if the network does not run on them.
    """
    images = _gathered(source, limit)
    _check(images)
    if network is not None:
        _check_run(network, images[:1])
    return images


def _gathered(source: CalibrationSource, limit: int) -> Tensor:
    if isinstance(source, Tensor):
        if source.ndim != 4:
            raise ShrinkError(
                f"images must be `(N, C, H, W)`, and {tuple(source.shape)} came; give one image "
                "as image[None]"
            )
        count = min(limit, len(source))
        chosen = [index * len(source) // count for index in range(count)]
        return source[chosen].detach().float().cpu()
    if isinstance(source, Data):
        # In the order of a training, which is random, and unchanged: photos of a folder come class
        # by class in any other.
        batches: Iterable[object] = (one.images for one in source.train.batches(BATCH, epoch=0))
    else:
        batches = _iterated(source)
    found: list[Tensor] = []
    for batch in islice(batches, limit):
        found.append(_images_of(batch))
        if sum(map(len, found)) >= limit:
            break
    if not found:
        raise ShrinkError("images were wanted to decide on, some hundred of them, and none came")
    shapes = {tuple(one.shape[1:]) for one in found}
    if len(shapes) > 1:
        raise ShrinkError(
            f"images must be of one size, and {' and '.join(map(str, sorted(shapes)[:2]))} came"
        )
    return torch.cat(found)[:limit]


def _iterated(source: object) -> Iterator[object]:
    if not isinstance(source, Iterable):
        raise ShrinkError(
            "images were wanted: a tensor (N, C, H, W), batches of them, or data to train on; a "
            f"{type(source).__name__} came"
        )
    return iter(source)


def _images_of(batch: object) -> Tensor:
    """Return the images of a batch, which may come with labels."""
    images = batch[0] if isinstance(batch, list | tuple) and batch else batch
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ShrinkError(f"batches of images must be `(N, C, H, W)`, and {shape} came")
    return images.detach().float().cpu()


def _check(images: Tensor) -> None:
    if len(images) < 2:
        raise ShrinkError(
            f"some hundred images were wanted to decide on, two at least, and {len(images)} came"
        )
    if not images.isfinite().all():
        bad = int((~images.isfinite()).flatten(1).any(1).sum())
        raise ShrinkError(
            f"{bad} of {len(images)} images hold what is no finite number (NaN or infinite); leave "
            "them out"
        )
    if (images == images[:1]).all():
        raise ShrinkError(f"all {len(images)} images are the same; give images that differ")


@torch.no_grad()
def _check_run(network: nn.Module, image: Tensor) -> None:
    was_training = network.training
    try:
        network.eval()(image)
    except Exception as error:  # a user's network may raise anything
        raise ShrinkError(
            f"the network does not run on images of {tuple(image.shape[1:])}: {first_line(error)}; "
            "give images as it wants them"
        ) from error
    finally:
        network.train(was_training)
