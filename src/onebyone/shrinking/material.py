"""What a network is decided on, and what it is judged by: never the same images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onebyone.errors import PhotoError, ShrinkError
from onebyone.explainer.samples import CROPS
from onebyone.models.photo import find_photos, open_photo
from onebyone.models.preprocess import Preprocess
from onebyone.models.samples import SAMPLE_PHOTOS
from onebyone.shrinking.images import LIMIT, calibration_images
from onebyone.training.data import SOURCES, Reading, read_data
from onebyone.training.data.data import Data, Split

SAMPLES = "samples"
"""What the demo's photos are called."""

HELD_OUT = 4
"""One in so many photos of a folder is kept for judging."""

MOST_JUDGED = 10_000
"""Test images that a network is judged by, at most."""

FEW = 64
"""Photos, below which people are told that they are few."""

JUDGED_NUMBERS = 2**28
"""Numbers of these images, at most: 1 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Images for two purposes.

    Attributes:
        images: `(N, C, H, W)`, to decide on.
        judged: `(N, C, H, W)`, to judge by.
        labels: The classes' numbers of these, `(N,)`; None where nobody has told them.
        data: To learn from, where there are labels.
        source: What they are, for people.
        advice: What people should know before they trust what is decided on them; mostly nothing.
    """

    images: Tensor
    judged: Tensor
    labels: Tensor | None = None
    data: Data | None = None
    source: str = ""
    advice: str = ""


def read_material(text: str, preprocess: Preprocess, *, limit: int = LIMIT) -> Material:
    """Read the images that a user names.

    Args:
        text: A data name of `onebyone train`, of whose training images some are taken to decide on,
            and whose test images to judge by; a folder of photos, of which every fourth is kept for
            judging; or "samples" for the demo's photos.
        preprocess: How a photo becomes the network's input.
        limit: How many to decide on, at most.

    Raises:
        OneByOneError: If they cannot be had or read, or are too few.
    """
    if text == SAMPLES:
        return _of_photos(list(SAMPLE_PHOTOS), preprocess, limit, "sample photos")
    if text.partition(":")[0] not in SOURCES and Path(text).is_dir():
        return _of_photos(list(find_photos(text)[0]), preprocess, limit, f"photos in {text}")
    data = read_data(text, Reading(preprocess))
    judged, labels = _first(data.test)
    return Material(
        images=calibration_images(data, limit=limit),
        judged=judged,
        labels=labels,
        data=data,
        source=text,
    )


def _first(split: Split) -> tuple[Tensor, Tensor]:
    """Return the first images of a split, and what they show."""
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in split.batches(256, epoch=None):
        images.append(batch.images)
        labels.append(batch.targets)
        count = sum(map(len, images))
        if count >= MOST_JUDGED or count * batch.images[0].numel() >= JUDGED_NUMBERS:
            break
    return torch.cat(images)[:MOST_JUDGED], torch.cat(labels)[:MOST_JUDGED]


def _of_photos(files: list[Path], preprocess: Preprocess, limit: int, of: str) -> Material:
    judged = files[HELD_OUT - 1 :: HELD_OUT]
    if not judged:
        raise ShrinkError(
            f"some hundred photos were wanted, {HELD_OUT} at least, of which one is kept for "
            f"judging; there are {len(files)}"
        )
    used = [file for file in files if file not in judged]
    used = used[: max(limit, 1)]
    each = max(1, min(len(CROPS), limit // len(used)))
    images = _cut(used, preprocess, each)
    return Material(
        images=calibration_images(images, limit=limit),
        judged=_cut(judged, preprocess, each),
        source=f"{each} crops of each of {len(used)} {of}" if each > 1 else f"{len(used)} {of}",
        advice=f"It was decided on {len(used)} photos: what does for these may not do for others; "
        "give it some hundred."
        if len(used) < FEW
        else "",
    )


def _cut(files: list[Path], preprocess: Preprocess, each: int) -> Tensor:
    """Return crops of photos; those that are damaged behind their first bytes are left out."""
    found: list[Tensor] = []
    damaged = ""
    for file in files:
        try:
            photo = open_photo(file)
        except PhotoError as error:
            damaged = str(error)
            continue
        found += [crop.cut(photo, preprocess) for crop in CROPS[:each]]
    if not found:
        raise PhotoError(f"none of {len(files)} photos can be read: {damaged}")
    return torch.stack(found)
