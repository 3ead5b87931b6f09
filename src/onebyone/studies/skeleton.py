"""The little networks that studies are made of: all alike, but for their blocks."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from onebyone.nn import BasicBlock, Bottleneck, ConvUnit, initialize_weights
from onebyone.training.data.data import Data


class MakeBlock(Protocol):
    """Make one block of a stage."""

    def __call__(self, in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
        """Return a module: `(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)`.

        Sizes that `stride` does not divide are rounded up.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """All that a little network is built from, besides the data.

    Attributes:
        block: Makes the blocks.
        widths: Channels that each stage's blocks give.
        blocks: Blocks in a stage. The first one of each stage but the first makes a step of 2.
        stem_channels: Channels that the 3x3 stem gives; by default as many as the first stage.
        starts_quiet: Whether ResNet's blocks start as the identity: the last batch norm of a branch
            scales by 0 (Goyal et al., arXiv 1706.02677, section 5.1). Without it, some blocks bear
            less of a learning rate than others, and that would be all that a comparison shows.
    """

    block: MakeBlock
    widths: tuple[int, ...]
    blocks: int
    stem_channels: int | None = None
    starts_quiet: bool = False

    def build(self, data: Data) -> "SkeletonNetwork":
        """Return the network for the data's channels and classes, started at random."""
        return SkeletonNetwork(self, in_channels=data.image_shape[0], num_classes=len(data.classes))


class SkeletonNetwork(nn.Module):
    """A 3x3 stem of stride 2, stages of blocks, the mean over the pixels, a linear layer.

    Of 28 x 28 pixels, three stages see 14 x 14, 7 x 7 and 4 x 4.

    Args:
        skeleton: What it is built from.
        in_channels: Channels of an image.
        num_classes: Scores that come out.

    Shape: `(N, in_channels, H, W) -> (N, num_classes)`.
    """

    def __init__(self, skeleton: Skeleton, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = skeleton.stem_channels or skeleton.widths[0]
        self.stem = ConvUnit(in_channels, channels, 3, stride=2)
        stages: list[nn.Module] = []
        for number, width in enumerate(skeleton.widths):
            blocks: list[nn.Module] = []
            for place in range(skeleton.blocks):
                stride = 2 if number and not place else 1
                blocks.append(skeleton.block(channels, width, stride=stride))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        initialize_weights(self)
        if skeleton.starts_quiet:
            _quieten(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores of a batch of images."""
        return self.fc(self.pool(self.stages(self.stem(x))).flatten(1))


def _quieten(network: nn.Module) -> None:
    for block in network.modules():
        if isinstance(block, BasicBlock):
            nn.init.zeros_(block.bn2.weight)
        elif isinstance(block, Bottleneck):
            nn.init.zeros_(block.bn3.weight)
