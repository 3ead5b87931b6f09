"""GoogLeNet (Inception v1)."""

from dataclasses import dataclass
from functools import partial
from string import ascii_lowercase
from typing import get_args

from torch import Tensor, nn

from onebyone.errors import check_choice
from onebyone.models.network import Network, NetworkConfig, StemKind
from onebyone.nn import ConvUnit, Inception, InceptionWidths, initialize_weights

STAGES: tuple[tuple[InceptionWidths, ...], ...] = (
    (
        InceptionWidths(64, 96, 128, 16, 32, 32),
        InceptionWidths(128, 128, 192, 32, 96, 64),
    ),
    (
        InceptionWidths(192, 96, 208, 16, 48, 64),
        InceptionWidths(160, 112, 224, 24, 64, 64),
        InceptionWidths(128, 128, 256, 24, 64, 64),
        InceptionWidths(112, 144, 288, 32, 64, 64),
        InceptionWidths(256, 160, 320, 32, 128, 128),
    ),
    (
        InceptionWidths(256, 160, 320, 32, 128, 128),
        InceptionWidths(384, 192, 384, 48, 128, 128),
    ),
)
"""The widths of the paper's table 1, which the released networks share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogLeNetConfig(NetworkConfig):
    """Widths and variant of a GoogLeNet.

    Attributes:
        stem: Widths of the three convolutions at the start.
        stem_kind: "7x7" has a step of 2 and a max pool of step 2 behind it; "3x3" keeps the grid,
            for small images.
        stages: Widths of the inception blocks of each stage; a max pool lies between two stages.
        kernel_size5: Kernel of the "5x5" branches: 3 in torchvision's weights, 5 in the paper.
        last_pool_size: Window of the last max pool: 2 with torchvision's weights, 3 in the paper.
        has_norm: Whether batch norm follows each convolution; without it they have biases.
        dropout: Share dropped before the classifier in training.
        norm_eps: Number added to each variance under the batch norms' square roots.
    """

    stem: tuple[int, int, int] = (64, 64, 192)
    stem_kind: StemKind = "7x7"
    stages: tuple[tuple[InceptionWidths, ...], ...] = STAGES
    kernel_size5: int = 3
    last_pool_size: int = 2
    has_norm: bool = True
    dropout: float = 0.2
    norm_eps: float = 1e-3


class GoogLeNet(Network):
    """Stack inception blocks, whose 1x1s keep their 3x3s and 5x5s affordable.

    Parameter names are torchvision's. The two auxiliary classifiers of the paper, which only serve
    training, are left out, and so are its two local response normalisations: batch norm replaces
    them where there is one, and VGG's authors found that without it they did not help
    (arXiv 1409.1556, section 4.1).

    Raises:
        UnknownNameError: If `stem_kind` is no word that it may be.

    Source: Szegedy et al., Going deeper with convolutions (arXiv 1409.4842), table 1.
    """

    family = "googlenet"
    head_name = "fc"

    def __init__(self, config: GoogLeNetConfig) -> None:
        super().__init__(config)
        check_choice("stem_kind", config.stem_kind, get_args(StemKind))
        norm = partial(nn.BatchNorm2d, eps=config.norm_eps) if config.has_norm else None
        s1, s2, s3 = config.stem
        has_steps = config.stem_kind == "7x7"
        kernel_size, stride = (7, 2) if has_steps else (3, 1)
        self.conv1 = ConvUnit(config.in_channels, s1, kernel_size, stride=stride, norm=norm)
        self.maxpool1 = _halve(3) if has_steps else nn.Identity()
        self.conv2 = ConvUnit(s1, s2, 1, norm=norm)
        self.conv3 = ConvUnit(s2, s3, 3, norm=norm)
        self.maxpool2 = _halve(3)

        channels = s3
        self.body_names: list[str] = []
        for stage, blocks in enumerate(config.stages, start=3):
            for letter, widths in zip(ascii_lowercase[: len(blocks)], blocks, strict=True):
                block = Inception(channels, widths, kernel_size5=config.kernel_size5, norm=norm)
                self._append(f"inception{stage}{letter}", block)
                channels = widths.out_channels
            later = 2 + len(config.stages) - stage
            if later:
                self._append(f"maxpool{stage}", _halve(3 if later > 1 else config.last_pool_size))

        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(channels, config.num_classes)
        initialize_weights(self)

    def _append(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.body_names.append(name)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last block's feature map; 1024 channels at H / 32 as published."""
        x = self.conv3(self.conv2(self.maxpool1(self.conv1(x))))
        x = self.maxpool2(x)
        for name in self.body_names:
            x = self.get_submodule(name)(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """Average over the grid, drop out, then score the classes."""
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))


def _halve(kernel_size: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size, stride=2, ceil_mode=True)
