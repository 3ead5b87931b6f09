"""Where values lie in memory: channels innermost (NHWC), with room for a border of zeros.

A buffer belongs to one of four homes: the arena, which is shared by buffers that do not live at
the same time; the constants; the scratch memory that each thread has of its own; or the caller's
own tensors. Strides and offsets count numbers of the buffer's format.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.memory.formats import FP32, Format
from onebyone.graph import Padding, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Describe the memory of an image `(N, C, H, W)`, channels innermost.

    Args:
        name: Unique in its plan.
        shape: `(N, C, H, W)` without the border.
        border: Rows and columns of zeros around each image.
        base: Entry of the table of base addresses.
        pixel_stride: Numbers from one pixel to the next; at least C.
        format: Of its numbers.
    """

    name: str
    shape: Shape
    border: Padding = (0, 0, 0, 0)
    base: int = BaseWord.ARENA
    pixel_stride: int = 0
    format: Format = FP32

    def __post_init__(self) -> None:
        """Pixels lie side by side if nothing else is said."""
        if not self.pixel_stride:
            object.__setattr__(self, "pixel_stride", self.shape[1])

    @property
    def row_stride(self) -> int:
        """Numbers from one row to the next."""
        return (self.shape[3] + self.border[2] + self.border[3]) * self.pixel_stride

    @property
    def image_stride(self) -> int:
        """Numbers from one image to the next."""
        return (self.shape[2] + self.border[0] + self.border[1]) * self.row_stride

    @property
    def size(self) -> int:
        """Room that it takes, in floats."""
        return -(-self.shape[0] * self.image_stride // self.format.per_float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Name `channels` channels of a buffer from `channel` on: all of it, or a branch's share."""

    buffer: Buffer
    channel: int = 0
    channels: int = 0

    @property
    def shape(self) -> Shape:
        """`(N, C, H, W)` of these channels."""
        n, _, h, w = self.buffer.shape
        return (n, self.channels, h, w)

    @property
    def is_dense(self) -> bool:
        """Whether all pixels of all images follow each other at one stride, without a border."""
        return not any(self.buffer.border)

    @property
    def is_contiguous(self) -> bool:
        """Whether there is no number between its first and its last that is not its own."""
        return self.is_dense and self.channels == self.buffer.pixel_stride

    def place(self, row: int = 0, column: int = 0) -> "Place":
        """Return where a pixel of the first image lies; a border has negative indices."""
        top, _, left, _ = self.buffer.border
        offset = (row + top) * self.buffer.row_stride + (column + left) * self.buffer.pixel_stride
        buffer = self.buffer
        return Place(buffer.name, buffer.base, offset + self.channel, buffer.format)

    def strided(self, row: int = 0, column: int = 0) -> "Strided":
        """Return where a pixel of the first image lies, and how far it is to others."""
        buffer = self.buffer
        place = self.place(row, column)
        return Strided(place, buffer.image_stride, buffer.row_stride, buffer.pixel_stride)

    def cropped(self, frame: Padding) -> "Region":
        """Return what is left without some pixels at the top, bottom, left and right."""
        n, c, h, w = self.buffer.shape
        top, bottom, left, right = frame
        border = tuple(old + new for old, new in zip(self.buffer.border, frame, strict=True))
        inner = replace(
            self.buffer, shape=(n, c, h - top - bottom, w - left - right), border=border
        )
        return replace(self, buffer=inner)

    def narrowed(self, channel: int, channels: int) -> "Region":
        """Return some of these channels."""
        return replace(self, channel=self.channel + channel, channels=channels)


class Strided(NamedTuple):
    """Point to a pixel, with the numbers from there to the next image, row and pixel."""

    place: "Place"
    image: int
    row: int
    pixel: int


@dataclass(frozen=True, slots=True)
class Place:
    """Point `offset` numbers behind the start of a buffer.

    `base` is the entry of the table of base addresses; for the arena and the constants, the
    buffer's own place there is added when memory has been planned.
    """

    buffer: str
    base: int
    offset: int = 0
    format: Format = FP32
