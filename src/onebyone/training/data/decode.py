"""From photos' numbers to pixels: what a worker process does, and what it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onebyone.errors import PhotoError
from onebyone.models.photo import MODES, opened_photo, turn_and_flatten
from onebyone.models.preprocess import Preprocess
from onebyone.training.augment import boxes_in
from onebyone.training.data.damage import allowed_of
from onebyone.training.data.examples import Examples
from onebyone.training.recipe import Augment

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

TAKEN = MODES | {"CMYK", "YCbCr"}
"""Pillow's pixel formats that are learnt from: more than `predict` takes, since a photo whose
colours are a little off still shows what it shows."""

SPARE = 2
"""A JPEG may be unpacked smaller than it is if so many times the pixels that are wanted remain."""

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""EXIF's tag for how a camera was held; what it says of photos that lie on their side."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Request:
    """Some photos of a step.

    Attributes:
        numbers: Their numbers among the examples.
        tries: What each one's crop follows from, as `Chances` has it; None in evaluation.
    """

    numbers: Sequence[int]
    tries: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a request.

    Attributes:
        images: `(N, H, W, C)`, uint8.
        targets: The classes' numbers.
        damaged: Photos that cannot be read: the reason by the name.
    """

    images: Tensor
    targets: Sequence[int]
    damaged: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Answers requests, the same one always in the same way, in any process.

    Attributes:
        examples: The photos.
        preprocess: Their size in the end.
        augment: How they are cropped.
    """

    examples: Examples
    preprocess: Preprocess
    augment: Augment

    def __getitem__(self, request: Request) -> Decoded:
        """Answer a request.

        In evaluation, what cannot be read is left out. In training the next photo that can be read
        takes its place, which most often is of the same class: so a step has as many as it should,
        and each process knows that of the others without asking.
        """
        damaged: dict[str, str] = {}
        if request.tries is None:
            found = [self._one(number, damaged) for number in request.numbers]
        else:
            asked = zip(request.numbers, request.tries, strict=True)
            found = [self._one_or_next(number, tries, damaged) for number, tries in asked]
        readable = [one for one in found if one is not None]
        side, channels = self.preprocess.input_size, self.preprocess.channels
        images = np.empty((len(readable), side, side, channels), np.uint8)
        for image, (_, pixels) in zip(images, readable, strict=True):
            image[:] = pixels
        targets = [int(self.examples.targets[number]) for number, _ in readable]
        return Decoded(torch.from_numpy(images), targets, damaged)

    def _one_or_next(
        self, number: int, tries: Tensor, damaged: dict[str, str]
    ) -> tuple[int, Pixels] | None:
        """Return a photo or the next one that can be read; None if too many cannot."""
        count = len(self.examples)
        for further in range(min(count, allowed_of(count) + 1)):
            if found := self._one((number + further) % count, damaged, tries):
                return found
        return None

    def _one(
        self, number: int, damaged: dict[str, str], tries: Tensor | None = None
    ) -> tuple[int, Pixels] | None:
        try:
            path, content = self.examples.open(number)
            with opened_photo(path, content, modes=TAKEN) as image:
                return number, self._pixels(self._cut(image, tries))
        except PhotoError as error:
            damaged[self.examples.name(number)] = str(error)
            return None

    def _cut(self, image: "ImageFile", tries: Tensor | None) -> "Image.Image":
        if tries is None or self.augment.crop_scale is None:
            return self.preprocess.cut(turn_and_flatten(image))
        width, height = _upright_size(image)
        top, left, tall, wide = boxes_in(self.augment, tries[None], height, width)[0].tolist()
        _draft(image, min(tall, wide) // (SPARE * self.preprocess.input_size))
        photo = turn_and_flatten(image)
        # One division, rounded once: what ends at the photo's edge ends there, not beyond.
        box = (
            left * photo.width / width,
            top * photo.height / height,
            (left + wide) * photo.width / width,
            (top + tall) * photo.height / height,
        )
        return self.preprocess.scale_part(photo, box)

    def _pixels(self, square: "Image.Image") -> Pixels:
        if self.preprocess.channels == 1:
            return np.asarray(square.convert("L"))[:, :, None]
        return np.asarray(square)


def _upright_size(image: "Image.Image") -> tuple[int, int]:
    """Return the width and height that a photo will have once it is turned the right way up."""
    turned = image.getexif().get(ORIENTATION) in TURNED
    return (image.height, image.width) if turned else image.size


def _draft(image: "ImageFile", times: int) -> None:
    """Unpack a JPEG up to `times` as small, by a power of two that its blocks allow: it is quick.

    Evaluation has no use for it, as the pixels are not quite the same.
    """
    if times > 1:
        image.draft(None, (image.width // times, image.height // times))
