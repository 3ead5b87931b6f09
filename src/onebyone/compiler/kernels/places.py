"""Where the numbers lie that dense convolutions read and write, as tables."""

from dataclasses import dataclass

import torch

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.memory.buffers import Region
from onebyone.graph import Convolution


@dataclass(frozen=True, slots=True)
class Batches:
    """Cut outputs into `count` batches of `images x rows` rows of pixels, each tiled on its own.

    They are images (or all of them together), or the rows of one.
    """

    count: int
    images: int
    rows: int
    are_rows: bool = False

    def step(self, region: Region, stride: int = 1) -> int:
        """Return the numbers from one batch to the next."""
        return region.buffer.row_stride * stride if self.are_rows else region.buffer.image_stride


def batches_of(node: Convolution, choices: Choices) -> Batches:
    """Return how the outputs of a convolution are cut before they are tiled."""
    images, _, rows, _ = node.shape
    if choices.band:
        return Batches(rows, 1, 1, are_rows=True)
    return Batches(images // choices.together, choices.together, rows)


def taps_and_depth(node: Convolution, source: Region) -> tuple[list[int], int]:
    """Return where the kernel's positions lie behind its first, and the numbers read at each.

    A row of the kernel is one position where its numbers lie side by side.
    """
    height, width = node.kernel_size
    pixel, row = source.buffer.pixel_stride, source.buffer.row_stride
    depth = node.weight.shape[1]
    rows = [y * node.dilation[0] * row for y in range(height)]
    if node.groups == 1 and pixel == depth and node.dilation[1] == 1:
        return rows, width * depth
    return [y + x * node.dilation[1] * pixel for y in rows for x in range(width)], depth


def pixel_table(
    node: Convolution, region: Region, batches: Batches, stride: tuple[int, int] = (1, 1)
) -> torch.Tensor:
    """Return where the numbers of each output pixel start, in numbers behind those of the first."""
    image = torch.arange(batches.images) * region.buffer.image_stride
    y = torch.arange(batches.rows) * stride[0] * region.buffer.row_stride
    x = torch.arange(node.shape[3]) * stride[1] * region.buffer.pixel_stride
    return (image[:, None, None] + y[:, None] + x).flatten()
