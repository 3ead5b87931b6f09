"""How a photo becomes a network's input."""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from onebyone.errors import PhotoError, ShapeError, check_choice

if TYPE_CHECKING:
    from PIL import Image

RGB = tuple[float, float, float]
Grey = tuple[float]

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
HALF: RGB = (0.5, 0.5, 0.5)

MAX_SIZE = 4096
"""Largest side, in pixels, that a photo is resized to."""

Interpolation = Literal["bilinear", "bicubic"]

MIN_STD = 1e-6
"""Smallest deviation that can be meant: pixels come in steps of 1 / 255."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resize a photo's shorter side, cut out the middle square, and normalise its channels.

    The numbers belong to a set of weights: others give worse scores, and no error.

    Attributes:
        input_size: Side of the square that the network sees, in pixels.
        resize_size: Length of the photo's shorter side before the cut, in pixels.
        mean: Mean of each channel, red, green, blue, on a scale of 0 to 1; or one number for a
            network that sees grey images, which photos are turned into.
        std: Deviation of each channel, likewise.
        interpolation: Filter of the resizing.

    Raises:
        ShapeError: If the square does not fit into the resized photo, or a number makes no sense.
        UnknownNameError: If `interpolation` is no word that it may be.
    """

    input_size: int = 224
    resize_size: int = 256
    mean: RGB | Grey = IMAGENET_MEAN
    std: RGB | Grey = IMAGENET_STD
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if not 1 <= self.input_size <= self.resize_size:
            raise ShapeError(
                f"`input_size` (={self.input_size}) must be in 1..{self.resize_size}, "
                "the `resize_size` that it is cut from"
            )

        if self.resize_size > MAX_SIZE:
            raise ShapeError(f"`resize_size` (={self.resize_size}) must be at most {MAX_SIZE}")
        for name, rgb in (("mean", self.mean), ("std", self.std)):
            if len(rgb) not in (1, 3) or not all(map(isfinite, rgb)):
                raise ShapeError(
                    f"`{name}` (={rgb}) must be three finite numbers, or one for grey images"
                )
        if len(self.mean) != len(self.std):
            raise ShapeError(f"`mean` (={self.mean}) and `std` (={self.std}) must be as many")
        if min(self.std) < MIN_STD:
            raise ShapeError(f"`std` (={self.std}) must be at least {MIN_STD}")
        check_choice("interpolation", self.interpolation, get_args(Interpolation))

    @property
    def channels(self) -> int:
        """Channels of the network's input: 3, or 1 for grey."""
        return len(self.mean)

    def __call__(self, photo: "Image.Image") -> Tensor:
        """Return an RGB photo as the network's input, `(channels, input_size, input_size)`.

        It is float32. Grey is the luminance of ITU-R 601, as Pillow has it.

        Raises:
            PhotoError: If the image is not in RGB.
        """
        return self.normalise(self.cut(photo))

    def cut(
        self, photo: "Image.Image", *, scale: float = 1.0, across: float = 0.5, down: float = 0.5
    ) -> "Image.Image":
        """Return the square of an RGB photo that the network sees, or another one.

        Args:
            photo: In RGB, of any size.
            scale: How many times as large as usual the photo is made before the cut, 1 or more.
            across: Where the square lies, from 0 at the left to 1 at the right.
            down: The same from 0 at the top to 1 at the bottom.

        Raises:
            PhotoError: If the image is not in RGB.
        """
        if photo.mode != "RGB":
            raise PhotoError(
                f"an image in RGB was wanted, and one in {photo.mode} came; read it with "
                "onebyone.open_photo, or call .convert('RGB')"
            )
        wanted = round(self.resize_size * scale)
        width, height = photo.size
        shorter = min(width, height)
        size = (width * wanted // shorter, height * wanted // shorter)
        if size != photo.size:
            photo = photo.resize(size, self._filter())
        left = round((size[0] - self.input_size) * across)
        top = round((size[1] - self.input_size) * down)
        return photo.crop((left, top, left + self.input_size, top + self.input_size))

    def scale_part(
        self, photo: "Image.Image", box: tuple[float, float, float, float]
    ) -> "Image.Image":
        """Return a part of a photo, of any size and ratio, scaled to what the network sees.

        Args:
            photo: In RGB.
            box: Left, top, right and bottom of the part, in pixels.
        """
        side = (self.input_size, self.input_size)
        return photo.resize(side, self._filter(), box=box)

    def normalise(self, square: "Image.Image") -> Tensor:
        """Return an RGB image as `(channels, height, width)`, float32, of the network's scale."""
        if self.channels == 1:
            square = square.convert("L")
        pixels = torch.from_numpy(np.array(square, dtype=np.float32)) / 255
        pixels = pixels.unsqueeze(0) if self.channels == 1 else pixels.permute(2, 0, 1)
        mean, std = self._mean_and_std()
        return ((pixels - mean) / std).contiguous()

    def picture(self, prepared: Tensor) -> Tensor:
        """Return what `normalise` made of an image as the image, `(3, height, width)`, uint8."""
        mean, std = self._mean_and_std()
        picture = ((prepared * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return picture.expand(3, -1, -1).contiguous()

    def _filter(self) -> "Image.Resampling":
        from PIL import Image  # whoever has a photo has the package

        return Image.Resampling[self.interpolation.upper()]

    def _mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Return both as `(channels, 1, 1)`."""
        return torch.tensor(self.mean).view(-1, 1, 1), torch.tensor(self.std).view(-1, 1, 1)
