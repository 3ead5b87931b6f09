"""Inception-ResNet-v2."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from onebyone.models.network import Network, NetworkConfig
from onebyone.nn import (
    ConvUnit,
    InceptionResidual,
    InceptionResNetA,
    InceptionResNetB,
    InceptionResNetC,
    InceptionStem,
    ReductionA,
    ReductionB,
    initialize_weights,
)

Widths = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionResNetV2Config(NetworkConfig):
    """Depths, widths and residual scales; for each branch, the channels its convolutions give.

    The residual stream's widths (320, 1088, 2080) follow from the branches in front.

    Attributes:
        stem: Widths of the five plain convolutions at the start.
        mixed: Branches of the first mixed block.
        blocks_a: Number of blocks on the 35 x 35 grid.
        branches_a: Branches of each of them.
        scale_a: Their residual scale.
        reduction_a: Branches of the step to the 17 x 17 grid.
        blocks_b: Number of blocks on the 17 x 17 grid.
        branches_b: Branches of each of them.
        scale_b: Their residual scale.
        reduction_b: Branches of the step to the 8 x 8 grid.
        blocks_c: Number of blocks on the 8 x 8 grid, before one more, unscaled and without ReLU.
        branches_c: Branches of each of them.
        scale_c: Their residual scale.
        head_channels: Width of the last 1x1.
        dropout: Share dropped before the classifier in training.
        norm_eps: Number added to each variance under the batch norms' square roots.
    """

    stem: tuple[int, int, int, int, int] = (32, 32, 64, 80, 192)
    mixed: Widths = ((96,), (48, 64), (64, 96, 96), (64,))
    blocks_a: int = 10
    branches_a: Widths = ((32,), (32, 32), (32, 48, 64))
    scale_a: float = 0.17
    reduction_a: Widths = ((384,), (256, 256, 384))
    blocks_b: int = 20
    branches_b: Widths = ((192,), (128, 160, 192))
    scale_b: float = 0.10
    reduction_b: Widths = ((256, 384), (256, 288), (256, 288, 320))
    blocks_c: int = 9
    branches_c: Widths = ((192,), (192, 224, 256))
    scale_c: float = 0.20
    head_channels: int = 1536
    dropout: float = 0.2
    norm_eps: float = 1e-3


class InceptionResNetV2(Network):
    """Add inception branches to a wide residual stream, through scaled linear 1x1s.

    140 of its 244 convolutions are 1x1, with 54 % of the multiply-adds; 40 of them are the filter
    expansions. Parameter names are those of the published checkpoints.

    Source: Szegedy et al. (arXiv 1602.07261), figure 15, with the stem and the widths of the
        released weights, which are not the paper's.
    """

    family = "inception_resnet_v2"
    head_name = "classif"

    def __init__(self, config: InceptionResNetV2Config) -> None:
        super().__init__(config)
        norm = partial(nn.BatchNorm2d, eps=config.norm_eps)
        s1, s2, s3, s4, s5 = config.stem
        self.conv2d_1a = ConvUnit(config.in_channels, s1, 3, stride=2, padding=0, norm=norm)
        self.conv2d_2a = ConvUnit(s1, s2, 3, padding=0, norm=norm)
        self.conv2d_2b = ConvUnit(s2, s3, 3, norm=norm)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = ConvUnit(s3, s4, 1, norm=norm)
        self.conv2d_4a = ConvUnit(s4, s5, 3, padding=0, norm=norm)
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)

        def repeat(
            kind: type[InceptionResidual], widths: Widths, n: int, scale: float
        ) -> nn.Module:
            return nn.Sequential(
                *(kind(channels, widths, scale=scale, norm=norm) for _ in range(n))
            )

        self.mixed_5b = InceptionStem(s5, config.mixed, norm=norm)
        channels = _last_widths(config.mixed)
        self.repeat = repeat(InceptionResNetA, config.branches_a, config.blocks_a, config.scale_a)
        self.mixed_6a = ReductionA(channels, config.reduction_a, norm=norm)
        channels += _last_widths(config.reduction_a)
        self.repeat_1 = repeat(InceptionResNetB, config.branches_b, config.blocks_b, config.scale_b)
        self.mixed_7a = ReductionB(channels, config.reduction_b, norm=norm)
        channels += _last_widths(config.reduction_b)
        self.repeat_2 = repeat(InceptionResNetC, config.branches_c, config.blocks_c, config.scale_c)
        self.block8 = InceptionResNetC(
            channels, config.branches_c, scale=1.0, has_activation=False, norm=norm
        )
        self.conv2d_7b = ConvUnit(channels, config.head_channels, 1, norm=norm)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.classif = nn.Linear(config.head_channels, config.num_classes)
        initialize_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, `(N, head_channels, 8, 8)` for 299 x 299 images."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x)))
        x = self.repeat(self.mixed_5b(self.maxpool_5a(x)))
        x = self.repeat_1(self.mixed_6a(x))
        x = self.repeat_2(self.mixed_7a(x))
        return self.conv2d_7b(self.block8(x))

    def forward_head(self, x: Tensor) -> Tensor:
        """Average over the grid, drop out, then score the classes."""
        return self.classif(self.dropout(self.avgpool(x).flatten(1)))


def _last_widths(branches: Widths) -> int:
    return sum(branch[-1] for branch in branches)
