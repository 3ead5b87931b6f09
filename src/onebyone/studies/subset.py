"""A part of the images, so that a study ends within the hour."""

from dataclasses import replace

import torch
from torch import Tensor

from onebyone.errors import DataError
from onebyone.training.data.data import Data, Split
from onebyone.training.data.order import generator_of
from onebyone.training.data.resident import Pixels, ResidentSplit

_STREAM = (0, 0, 1)
"""What sets these random numbers apart from those of the seed's epochs and steps."""


def take_images(data: Data, count: int | None, *, seed: int) -> Data:
    """Return the data with some of its training images, as many of each class.

    Which ones depends on the seed alone. Where classes do not divide the count, the first ones have
    one more. The statistics that images are normalised by stay those of all.

    Args:
        data: Images in memory.
        count: How many; None for all there are.
        seed: What the choice depends on.

    Raises:
        DataError: If a class has too few of them, or they are not in memory.
    """
    if count is None:
        return data
    split = _resident(data.train, data.name)
    order = torch.randperm(len(split), generator=generator_of(seed, *_STREAM))
    shuffled = split.pixels.targets[order]
    chosen = [
        _first(order[shuffled == number], wanted, name)
        for number, (name, wanted) in enumerate(
            zip(data.classes, _shares(count, len(data.classes)), strict=True)
        )
    ]
    return replace(data, train=_part(split, torch.cat(chosen)))


def first_tests(data: Data, count: int) -> Data:
    """Return the data with the first of its test images only.

    Raises:
        DataError: If they are not in memory.
    """
    split = _resident(data.test, data.name)
    return replace(data, test=_part(split, torch.arange(min(count, len(split)))))


def _resident(split: Split, name: str) -> ResidentSplit:
    if not isinstance(split, ResidentSplit):
        raise DataError(f"{name} is not kept in memory, which a study needs; name other data")
    return split


def _shares(count: int, classes: int) -> list[int]:
    return [count // classes + (number < count % classes) for number in range(classes)]


def _first(numbers: Tensor, wanted: int, name: str) -> Tensor:
    if len(numbers) < wanted:
        raise DataError(
            f"{wanted} images of class {name!r} were wanted, and there are {len(numbers)}; ask for "
            "fewer images"
        )
    return numbers[:wanted]


def _part(split: ResidentSplit, numbers: Tensor) -> ResidentSplit:
    pixels = Pixels(split.pixels.images[numbers], split.pixels.targets[numbers])
    return ResidentSplit(pixels=pixels, finish=split.finish)
