"""One 1x1 convolution at work, to be looked at pixel by pixel."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """What one 1x1 convolution reads, holds and gives, on one image.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        path: Module that it came from.
        image: The image that the network saw, `(3, H, W)`, uint8; None where it saw no photo.
        input: `(in_channels, height, width)`, float32.
        weight: `(out_channels, in_channels)`.
        bias: `(out_channels,)`; zeros where it has none.
        stride: Rows and columns from one position that it reads to the next.
    """

    name: str
    path: str
    image: Tensor | None
    input: Tensor
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
