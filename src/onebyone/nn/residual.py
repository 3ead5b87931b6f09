"""ResNet's residual blocks.

Parameter names are those of torchvision and timm, so that checkpoints load as they are.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from onebyone.errors import ShapeError, check_choice
from onebyone.nn.conv_unit import relu
from onebyone.nn.pointwise import PointwiseConv2d

StrideIn = Literal["3x3", "reduce"]
Shortcut = Literal["projection", "zeros"]


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to the identity: the block of ResNet-18 and -34.

    Its only 1x1 is the projection shortcut, present where the shape changes: ResNet-18 and -34
    have three of them, 1.1 % and 0.5 % of the multiply-adds.

    Args:
        in_channels: Channels of the residual stream that comes in.
        hidden_channels: Channels between the two convolutions.
        out_channels: Channels of the residual stream that goes out.
        stride: Step of the first convolution and of the shortcut.
        shortcut: What the shortcut is where the shape changes: "projection" is a learned 1x1, the
            paper's option B; "zeros" skips pixels and adds channels of zeros, its option A.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Raises:
        UnknownNameError: If `shortcut` is neither of the two.
        ShapeError: If the shortcut is to add channels of zeros, and there are fewer behind it.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), figure 5 left.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = "projection",
    ) -> None:
        super().__init__()
        check_choice("shortcut", shortcut, get_args(Shortcut))
        self.conv1 = nn.Conv2d(
            in_channels, hidden_channels, 3, stride=stride, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(hidden_channels)
        self.act1 = relu()
        self.conv2 = nn.Conv2d(hidden_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride, kind=shortcut)
        self.act2 = relu()

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum of the shortcut and the branch."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        # The branch ends without activation: a ReLU here could only ever add, never subtract.
        return self.act2(x + shortcut)


class Bottleneck(nn.Module):
    """Reduce with a 1x1, convolve 3x3, expand with a 1x1, add: large -> small -> large.

    The block of ResNet-50, -101 and -152. A 3x3 at the outer width would cost 6.3 times as many
    multiply-adds in ResNet-50 (one a block; 13.6 times with two). Against ResNet-34, which has as
    many blocks, nothing is saved (+12 %): the bottleneck buys a residual stream that is four times
    wider at about the same cost. The opposite sequence that one meets across a block border
    (3x3 -> expand -> the next block's reduce) is no bottleneck: an addition and a ReLU lie between.

    Args:
        in_channels: Channels of the residual stream that comes in.
        hidden_channels: Width of the bottleneck, which the 3x3 works at.
        out_channels: Channels of the residual stream that goes out.
        stride: Step of the block.
        stride_in: Layer that makes the step: "3x3" is ResNet v1.5, what torchvision and timm ship;
            "reduce" is v1, the paper's, whose reduction skips three positions in four.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Raises:
        UnknownNameError: If `stride_in` is neither of the two.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), figure 5 right. The table's
        "FLOPs" there are multiply-adds of v1.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        stride_in: StrideIn = "3x3",
    ) -> None:
        super().__init__()
        check_choice("stride_in", stride_in, get_args(StrideIn))
        reduce_stride, spatial_stride = (1, stride) if stride_in == "3x3" else (stride, 1)
        self.conv1 = PointwiseConv2d(in_channels, hidden_channels, stride=reduce_stride, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden_channels)
        self.act1 = relu()
        self.conv2 = nn.Conv2d(
            hidden_channels, hidden_channels, 3, stride=spatial_stride, padding=1, bias=False
        )
        self.bn2 = nn.BatchNorm2d(hidden_channels)
        self.act2 = relu()
        self.conv3 = PointwiseConv2d(hidden_channels, out_channels, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)
        self.act3 = relu()

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum of the shortcut and the branch."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.act3(x + shortcut)


class PreactBottleneck(nn.Module):
    """Normalise and activate before each convolution of a bottleneck, and add nothing but sums.

    The residual stream is never cut off by a ReLU: what a block adds reaches the head as it is. The
    first activation is shared by the branch and, where the shape changes, by the projection.

    Args:
        in_channels: Channels of the residual stream that comes in.
        hidden_channels: Width of the bottleneck, which the 3x3 works at.
        out_channels: Channels of the residual stream that goes out.
        stride: Step of the 3x3 and of the shortcut.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Source: He et al., Identity Mappings in Deep Residual Networks (arXiv 1603.05027), figure 1b and
        the appendix; their code steps in the reduction, and this in the 3x3, as `Bottleneck` does.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, out_channels: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU()  # not in place: the stream itself goes on beside it
        self.conv1 = PointwiseConv2d(in_channels, hidden_channels, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden_channels)
        self.act2 = relu()
        self.conv2 = nn.Conv2d(
            hidden_channels, hidden_channels, 3, stride=stride, padding=1, bias=False
        )
        self.bn3 = nn.BatchNorm2d(hidden_channels)
        self.act3 = relu()
        self.conv3 = PointwiseConv2d(hidden_channels, out_channels, bias=False)
        has_projection = stride > 1 or in_channels != out_channels
        self.downsample = (
            PointwiseConv2d(in_channels, out_channels, stride=stride, bias=False)
            if has_projection
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the shortcut and the branch."""
        activated = self.act1(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(activated)
        x = self.act2(self.bn2(self.conv1(activated)))
        x = self.act3(self.bn3(self.conv2(x)))
        return self.conv3(x) + shortcut


class ZeroPaddedShortcut(nn.Module):
    """Skip pixels and add channels of zeros: a shortcut to a wider stream without parameters.

    Args:
        in_channels: Channels of the residual stream that comes in.
        out_channels: Channels of the residual stream that goes out.
        stride: Step between the pixels that are kept.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Raises:
        ShapeError: If `out_channels` is less than `in_channels`.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), section 3.3, option A.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ShapeError(
                f"`out_channels` (={out_channels}) must be at least `in_channels` "
                f"(={in_channels}) where the shortcut adds zeros; use shortcut='projection'"
            )
        self.added_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the pixels that are kept, with zeros behind their channels."""
        x = x[:, :, :: self.stride, :: self.stride]
        images, _, height, width = x.shape
        return torch.cat([x, x.new_zeros(images, self.added_channels, height, width)], dim=1)


def _shortcut(
    in_channels: int, out_channels: int, stride: int, *, kind: Shortcut = "projection"
) -> nn.Module | None:
    """Project with a 1x1 (or add zeros) where the shape changes; elsewhere it is the identity."""
    if stride == 1 and in_channels == out_channels:
        return None
    if kind == "zeros":
        return ZeroPaddedShortcut(in_channels, out_channels, stride=stride)
    return nn.Sequential(
        PointwiseConv2d(in_channels, out_channels, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
