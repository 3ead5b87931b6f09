"""The 1x1 convolution itself."""

from torch import Tensor, nn

from onebyone.errors import ShapeError


class PointwiseConv2d(nn.Conv2d):
    """Apply one matrix to the channels of every pixel (a 1x1 convolution).

    Each output channel is a learned, signed dot product with the pixel's channel vector, the same
    at every pixel: `y[o] = sum over c of W[o, c] x[c] + b[o]`. It is no mean (that is the special
    case `W = 1 / in_channels`), and it is linear: the non-linearity is the activation behind it.
    With stride 1 it keeps the grid; with stride 2 it reads one position in four.

    Args:
        in_channels: Length of the channel vector that comes in.
        out_channels: Length of the one that goes out.
        stride: Step between the pixels that are read.
        groups: Number of blocks of a block-diagonal matrix; 1 is a full matrix.
        bias: Whether a learned constant is added to each output channel.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Raises:
        ShapeError: If `groups` does not divide both channel counts.

    Example:
        >>> import torch
        >>> PointwiseConv2d(64, 256, stride=2)(torch.zeros(1, 64, 7, 7)).shape
        torch.Size([1, 256, 4, 4])

    Source: Lin et al., Network In Network (arXiv 1312.4400), section 3.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels % groups:
                raise ShapeError(
                    f"`{name}` (={channels}) must be divisible by `groups` (={groups})"
                )
        super().__init__(
            in_channels, out_channels, kernel_size=1, stride=stride, groups=groups, bias=bias
        )

    @property
    def matrix(self) -> Tensor:
        """The weight as `(out_channels, in_channels // groups)`; a view, not a copy."""
        return self.weight.flatten(1)
