"""The blocks of Inception-ResNet-v2.

What makes a kind of block is its kernels, a class constant; its widths are arguments. Parameter
names are those of the published checkpoints. The widths in the paper's figures (384, 1154, 2048)
are not those of the released network (320, 1088, 2080).

Source: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections
(arXiv 1602.07261), figures 16 to 19 and 7, as released in TensorFlow's "slim" models.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from onebyone.errors import ShapeError
from onebyone.nn.conv_unit import KernelSize, NormFactory, relu
from onebyone.nn.inception import Branches, conv_branch
from onebyone.nn.pointwise import PointwiseConv2d

Widths = Sequence[Sequence[int]]
Kernels = tuple[tuple[KernelSize, ...], ...]


class InceptionResidual(Branches):
    """Add to the input a scaled, linear 1x1 of concatenated branches: what A, B and C share.

    The closing 1x1, the paper's "filter expansion", brings the branches back to the width of the
    residual stream. It has a bias, and neither batch norm nor activation. Scaling its output down
    is what kept networks this wide from dying early in training.

    Args:
        channels: Channels of the residual stream.
        widths: For each branch, the channels that its convolutions give.
        scale: Factor on the expansion before the addition.
        has_activation: Whether a ReLU follows the addition; the network's very last block has none.
        norm: Makes a normalisation from its channel count.

    Shape: `(N, channels, H, W) -> (N, channels, H, W)`.

    Raises:
        ShapeError: If `widths` does not have one number for each of the kind's kernels.
    """

    kernel_sizes: ClassVar[Kernels]

    def __init__(
        self,
        channels: int,
        widths: Widths,
        *,
        scale: float,
        has_activation: bool = True,
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__(_conv_branches(channels, widths, self.kernel_sizes, norm=norm))
        self.conv2d = PointwiseConv2d(sum(branch[-1] for branch in widths), channels)
        self.act = relu() if has_activation else nn.Identity()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus the scaled filter expansion, activated."""
        return self.act(x + self.scale * self.conv2d(super().forward(x)))


class InceptionResNetA(InceptionResidual):
    """See 1x1, 3x3 and (as two 3x3) 5x5 patches: the 35 x 35 block, figure 16."""

    kernel_sizes = ((1,), (1, 3), (1, 3, 3))


class InceptionResNetB(InceptionResidual):
    """See 1x1 and (as 1x7 and 7x1) 7x7 patches: the 17 x 17 block, figure 17."""

    kernel_sizes = ((1,), (1, (1, 7), (7, 1)))


class InceptionResNetC(InceptionResidual):
    """See 1x1 and (as 1x3 and 3x1) 3x3 patches: the 8 x 8 block, figure 19."""

    kernel_sizes = ((1,), (1, (1, 3), (3, 1)))


class InceptionStem(Branches):
    """See one input at four scales, the last a 1x1 behind an average pool ("mixed 5b").

    The released network begins with plain convolutions and this block, as Inception-v3 does; the
    paper's stem for Inception-ResNet-v2 (its figure 3) is another one.

    Args:
        in_channels: Channels that come in.
        widths: For each of the four branches, the channels that its convolutions give.
        norm: Makes a normalisation from its channel count.

    Shape: `(N, in_channels, H, W) -> (N, sum of the branches' last widths, H, W)`.

    Raises:
        ShapeError: As `InceptionResidual`.
    """

    kernel_sizes: ClassVar[Kernels] = ((1,), (1, 5), (1, 3, 3), (1,))

    def __init__(
        self, in_channels: int, widths: Widths, *, norm: NormFactory = nn.BatchNorm2d
    ) -> None:
        branches = _conv_branches(in_channels, widths, self.kernel_sizes, norm=norm)
        pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        branches["branch3"] = nn.Sequential(pool, branches["branch3"])
        super().__init__(branches)


class Reduction(Branches):
    """Halve the grid in several ways at once, the last a max pool: what both reductions share.

    Args:
        in_channels: Channels that come in; the max pool passes them on.
        widths: For each branch of convolutions, the channels that they give.
        norm: Makes a normalisation from its channel count.

    Shape: `(N, in_channels, H, W) -> (N, in_channels + sum of the last widths, H', W')`,
        `H' = floor((H - 3) / 2) + 1`: no padding.

    Raises:
        ShapeError: As `InceptionResidual`.
    """

    kernel_sizes: ClassVar[Kernels]

    def __init__(
        self, in_channels: int, widths: Widths, *, norm: NormFactory = nn.BatchNorm2d
    ) -> None:
        branches = _conv_branches(in_channels, widths, self.kernel_sizes, norm=norm, stride=2)
        branches[f"branch{len(branches)}"] = nn.MaxPool2d(3, stride=2)
        super().__init__(branches)


class ReductionA(Reduction):
    """Go from the 35 x 35 to the 17 x 17 grid ("mixed 6a"), figure 7."""

    kernel_sizes = ((3,), (1, 3, 3))


class ReductionB(Reduction):
    """Go from the 17 x 17 to the 8 x 8 grid ("mixed 7a"), figure 18."""

    kernel_sizes = ((1, 3), (1, 3), (1, 3, 3))


def _conv_branches(
    in_channels: int, widths: Widths, kernel_sizes: Kernels, *, norm: NormFactory, stride: int = 1
) -> dict[str, nn.Module]:
    if [len(branch) for branch in widths] != [len(branch) for branch in kernel_sizes]:
        raise ShapeError(
            f"`widths` (={tuple(map(tuple, widths))}) must have one number for each kernel of "
            f"{kernel_sizes}"
        )
    return {
        f"branch{i}": conv_branch(in_channels, branch, kernels, norm=norm, stride=stride)
        for i, (branch, kernels) in enumerate(zip(widths, kernel_sizes, strict=True))
    }
