"""GoogLeNet's inception block, and the parts that it shares with Inception-ResNet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from onebyone.nn.conv_unit import ConvUnit, KernelSize, NormFactory


class Branches(nn.Module):
    """Run several branches on the same input and concatenate their channels.

    Args:
        branches: The branches by name, in the order of their channels in the output.

    Shape: `(N, C, H, W) -> (N, sum of the branches' channels, H', W')`.
    """

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.branch_names = tuple(branches)
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' outputs, one behind the other."""
        return torch.cat([self.get_submodule(name)(x) for name in self.branch_names], dim=1)


def conv_branch(
    in_channels: int,
    widths: Sequence[int],
    kernel_sizes: Sequence[KernelSize],
    *,
    norm: NormFactory | None,
    stride: int = 1,
) -> nn.Module:
    """Chain convolution units: usually a 1x1 that reduces, then the k x k that it makes cheap.

    Args:
        in_channels: Channels that come in.
        widths: Channels that each unit gives.
        kernel_sizes: Kernel of each unit; as many as `widths`.
        norm: Makes a normalisation from its channel count; None leaves it out, and adds biases.
        stride: Step of the last unit. A step of 2 is made without padding, as in Inception v3 on.

    Returns:
        The unit itself if there is one only, else a sequence: the nesting that checkpoints have.
    """
    last = len(widths) - 1
    units = [
        ConvUnit(before, after, kernel_size, norm=norm)
        if i < last or stride == 1
        else ConvUnit(before, after, kernel_size, stride=stride, padding=0, norm=norm)
        for i, ((before, after), kernel_size) in enumerate(
            zip(pairwise([in_channels, *widths]), kernel_sizes, strict=True)
        )
    ]
    return units[0] if len(units) == 1 else nn.Sequential(*units)


@dataclass(frozen=True, slots=True)
class InceptionWidths:
    """Widths of one inception block, in the order of the paper's table 1."""

    pointwise: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: int

    @property
    def out_channels(self) -> int:
        """Channels of the concatenated output."""
        return self.pointwise + self.conv3 + self.conv5 + self.pool


class Inception(Branches):
    """See one input at four scales: 1x1; 1x1 -> 3x3; 1x1 -> 5x5; max pool -> 1x1.

    If the 3x3s and 5x5s read the full width instead of what the 1x1s reduce it to, GoogLeNet would
    take 2.8 times the multiply-adds (2.2 times with 3x3s in the place of the 5x5s).

    Args:
        in_channels: Channels that come in.
        widths: Widths of the branches.
        kernel_size5: Kernel of the "5x5" branch. The paper has 5. torchvision's weights have 3, a
            slip of the TensorFlow network that they come from (pytorch/vision issue 906).
        norm: Makes a normalisation from its channel count; None leaves it out, and adds biases.

    Shape: `(N, in_channels, H, W) -> (N, widths.out_channels, H, W)`.

    Source: Szegedy et al., Going deeper with convolutions (arXiv 1409.4842), figure 2b.
    """

    def __init__(
        self,
        in_channels: int,
        widths: InceptionWidths,
        *,
        kernel_size5: int = 3,
        norm: NormFactory | None = nn.BatchNorm2d,
    ) -> None:
        def branch(out_channels: Sequence[int], kernel_sizes: Sequence[int]) -> nn.Module:
            return conv_branch(in_channels, out_channels, kernel_sizes, norm=norm)

        super().__init__(
            {
                "branch1": branch([widths.pointwise], [1]),
                "branch2": branch([widths.reduce3, widths.conv3], [1, 3]),
                "branch3": branch([widths.reduce5, widths.conv5], [1, kernel_size5]),
                "branch4": nn.Sequential(
                    nn.MaxPool2d(3, stride=1, padding=1), branch([widths.pool], [1])
                ),
            }
        )
