"""Network in Network's layer."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from onebyone.errors import ShapeError
from onebyone.nn.conv_unit import ConvUnit


class MlpConv(nn.Sequential):
    """Convolve k x k, then let a small perceptron, made of 1x1s, run over every pixel.

    Each convolution has a bias and is followed by ReLU. The ReLUs are the point: without them the
    1x1s and the k x k in front are one linear map and fold into one convolution (see `nn.fold`).

    Args:
        in_channels: Channels that come in.
        out_channels: Widths of the layers: the k x k convolution's, then each 1x1's.
        kernel_size: Height and width of the first kernel.
        stride: Step of the first convolution.
        padding: Zeros on each side of the first convolution.

    Shape: `(N, in_channels, H, W) -> (N, out_channels[-1], H', W')`.

    Raises:
        ShapeError: If `out_channels` is empty.

    Source: Lin et al., Network In Network (arXiv 1312.4400), figure 1b and section 3.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: Sequence[int],
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        if not out_channels:
            raise ShapeError("`out_channels` (=()) must name at least the width of the k x k layer")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["spatial"] = ConvUnit(
            in_channels, out_channels[0], kernel_size, stride=stride, padding=padding, norm=None
        )
        for i, (before, after) in enumerate(pairwise(out_channels), start=1):
            layers[f"pointwise{i}"] = ConvUnit(before, after, norm=None)
        super().__init__(layers)
