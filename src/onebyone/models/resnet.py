"""ResNet-18 to -152."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from onebyone.errors import ShapeError, check_choice
from onebyone.models.network import Network, NetworkConfig
from onebyone.nn import BasicBlock, Bottleneck, initialize_weights, relu
from onebyone.nn.residual import StrideIn

BlockKind = Literal["basic", "bottleneck"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig(NetworkConfig):
    """Depths and widths of a ResNet.

    Attributes:
        block: "basic" (3x3, 3x3) or "bottleneck" (1x1, 3x3, 1x1).
        blocks: Blocks in each stage; every stage but the first halves the grid.
        hidden_channels: Width inside the blocks of each stage.
        out_channels: Width of the residual stream in each stage.
        stem_channels: Width behind the 7x7 stem.
        stride_in: Where a bottleneck makes its step: "3x3" is v1.5, "reduce" the paper's v1.
    """

    block: BlockKind
    blocks: tuple[int, ...]
    hidden_channels: tuple[int, ...] = (64, 128, 256, 512)
    out_channels: tuple[int, ...]
    stem_channels: int = 64
    stride_in: StrideIn = "3x3"


class ResNet(Network):
    """Stack residual blocks in stages, each at half the grid of the one before.

    Only the bottleneck kind leans on 1x1s: they are half of ResNet-50's multiply-adds and about
    1 % of ResNet-18's. Parameter names are those of torchvision and timm.

    Raises:
        ShapeError: If the stages' depths and widths differ in number.
        UnknownNameError: If `block` or `stride_in` is no word that it may be.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), table 1; with the step of a
        bottleneck in the 3x3 ("v1.5") unless `stride_in` says otherwise.
    """

    family = "resnet"
    head_name = "fc"

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        check_choice("block", config.block, get_args(BlockKind))
        stages = len(config.blocks)
        if not stages == len(config.hidden_channels) == len(config.out_channels):
            raise ShapeError(
                f"`blocks` (={config.blocks}), `hidden_channels` (={config.hidden_channels}) and "
                f"`out_channels` (={config.out_channels}) must have one number for each stage"
            )
        self.conv1 = nn.Conv2d(3, config.stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        self.act1 = relu()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage_names = tuple(f"layer{stage + 1}" for stage in range(stages))
        for stage, name in enumerate(self.stage_names):
            self.add_module(name, _make_stage(config, stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(config.out_channels[-1], config.num_classes)
        initialize_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's feature map, `(N, out_channels[-1], H / 32, W / 32)`."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """Average over the grid, then score the classes."""
        return self.fc(self.avgpool(x).flatten(1))


def _make_stage(config: ResNetConfig, stage: int) -> nn.Sequential:
    stream = (config.stem_channels, *config.out_channels)
    in_channels, out_channels = stream[stage], stream[stage + 1]
    blocks: list[nn.Module] = []
    for i in range(config.blocks[stage]):
        stride = 2 if i == 0 and stage > 0 else 1
        blocks.append(_make_block(config, stage, in_channels, out_channels, stride))
        in_channels = out_channels
    return nn.Sequential(*blocks)


def _make_block(
    config: ResNetConfig, stage: int, in_channels: int, out_channels: int, stride: int
) -> nn.Module:
    hidden_channels = config.hidden_channels[stage]
    if config.block == "basic":
        return BasicBlock(in_channels, hidden_channels, out_channels, stride=stride)
    return Bottleneck(
        in_channels, hidden_channels, out_channels, stride=stride, stride_in=config.stride_in
    )
