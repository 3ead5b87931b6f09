"""The depthwise blocks of MobileNetV2 and EfficientNet-Lite.

Parameter names are timm's, so that its checkpoints load as they are.
"""

from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from onebyone.errors import check_choice
from onebyone.nn.conv_unit import NormFactory, relu6
from onebyone.nn.pointwise import PointwiseConv2d
from onebyone.nn.same_padding import SamePaddingConv2d

Padding = Literal["symmetric", "same"]


def padded_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    padding: Padding = "symmetric",
) -> nn.Conv2d:
    """Make a k x k convolution without bias that gives `ceil(size / stride)` pixels.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Height and width of the kernel; odd.
        stride: Step between the pixels that are read.
        groups: Number of groups; `in_channels` makes the convolution depthwise.
        padding: "symmetric" is PyTorch's `kernel_size // 2`, "same" is TensorFlow's rule.

    Raises:
        UnknownNameError: If `padding` is neither.
    """
    check_choice("padding", padding, get_args(Padding))
    symmetric = partial(nn.Conv2d, padding=kernel_size // 2)
    make = SamePaddingConv2d if padding == "same" else symmetric
    return make(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=False)


class DepthwiseSeparable(nn.Module):
    """Filter each channel on its own, then mix the channels with a linear 1x1.

    The first block of MobileNetV2 and EfficientNet-Lite: an inverted residual without expansion.

    Args:
        in_channels: Channels that come in, and that the depthwise convolution works at.
        out_channels: Channels that go out.
        kernel_size: Height and width of the depthwise kernel; odd.
        stride: Step of the depthwise convolution.
        padding: "symmetric" is PyTorch's rule, "same" TensorFlow's.
        norm: Makes a normalisation from its channel count.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: Padding = "symmetric",
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv_dw = padded_conv(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            groups=in_channels,
            padding=padding,
        )
        self.bn1 = norm(in_channels)
        self.act1 = relu6()
        self.conv_pw = PointwiseConv2d(in_channels, out_channels, bias=False)
        self.bn2 = norm(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear projection, plus the input where the shape is kept."""
        shortcut = x
        x = self.act1(self.bn1(self.conv_dw(x)))
        x = self.bn2(self.conv_pw(x))
        return x + shortcut if self.has_shortcut else x


class InvertedResidual(nn.Module):
    """Expand with a 1x1, filter depthwise, project with a linear 1x1: small -> large -> small.

    The residual stream is the narrow one. The expansion is followed by ReLU6, the projection by
    nothing: a ReLU in the narrow space would lose what it cuts off. The two 1x1s hold nearly all
    of the cost: with the stem's and the head's, 1x1s do 89 % of MobileNetV2's multiply-adds.

    Args:
        in_channels: Channels of the residual stream that comes in.
        hidden_channels: Channels between the two 1x1s.
        out_channels: Channels of the residual stream that goes out.
        kernel_size: Height and width of the depthwise kernel; odd.
        stride: Step of the depthwise convolution; the shortcut exists where it is 1 and
            `in_channels == out_channels`.
        padding: "symmetric" is PyTorch's rule, "same" TensorFlow's.
        norm: Makes a normalisation from its channel count.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Source: Sandler et al., MobileNetV2 (arXiv 1801.04381), figure 3b and table 1.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: Padding = "symmetric",
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv_pw = PointwiseConv2d(in_channels, hidden_channels, bias=False)
        self.bn1 = norm(hidden_channels)
        self.act1 = relu6()
        self.conv_dw = padded_conv(
            hidden_channels,
            hidden_channels,
            kernel_size,
            stride=stride,
            groups=hidden_channels,
            padding=padding,
        )
        self.bn2 = norm(hidden_channels)
        self.act2 = relu6()
        self.conv_pwl = PointwiseConv2d(hidden_channels, out_channels, bias=False)
        self.bn3 = norm(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear projection, plus the input where the shape is kept."""
        shortcut = x
        x = self.act1(self.bn1(self.conv_pw(x)))
        x = self.act2(self.bn2(self.conv_dw(x)))
        x = self.bn3(self.conv_pwl(x))
        return x + shortcut if self.has_shortcut else x
