"""ResNet-18 to -152 for photos, and ResNet-20 to -164 for small images."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from onebyone.errors import ShapeError, check_choice
from onebyone.models.network import Network, NetworkConfig, StemKind
from onebyone.nn import BasicBlock, Bottleneck, PreactBottleneck, initialize_weights, relu
from onebyone.nn.residual import Shortcut, StrideIn

BlockKind = Literal["basic", "bottleneck", "preact_bottleneck"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig(NetworkConfig):
    """Depths and widths of a ResNet.

    Attributes:
        block: "basic" (3x3, 3x3), "bottleneck" (1x1, 3x3, 1x1), or "preact_bottleneck", which
            normalises and activates before each convolution.
        blocks: Blocks in each stage; every stage but the first halves the grid.
        hidden_channels: Width inside the blocks of each stage.
        out_channels: Width of the residual stream in each stage.
        stem_kind: "7x7" has a step of 2 and a max pool of step 2 behind it; "3x3" keeps the grid,
            for small images.
        stem_channels: Width behind the stem.
        stride_in: Where a bottleneck makes its step: "3x3" is v1.5, "reduce" the paper's v1.
        shortcut: What a basic block's shortcut is where the shape changes: "projection" is a 1x1,
            "zeros" has no parameters.
    """

    block: BlockKind
    blocks: tuple[int, ...]
    hidden_channels: tuple[int, ...] = (64, 128, 256, 512)
    out_channels: tuple[int, ...]
    stem_kind: StemKind = "7x7"
    stem_channels: int = 64
    stride_in: StrideIn = "3x3"
    shortcut: Shortcut = "projection"


class ResNet(Network):
    """Stack residual blocks in stages, each at half the grid of the one before.

    Only the bottleneck kind leans on 1x1s: they are half of ResNet-50's multiply-adds and about
    1 % of ResNet-18's. Parameter names are those of torchvision and timm.

    Raises:
        ShapeError: If the stages' depths and widths differ in number.
        UnknownNameError: If `block`, `stem_kind`, `stride_in` or `shortcut` is no word that it may
            be.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), table 1 and, for small images,
        section 4.2; with the step of a bottleneck in the 3x3 ("v1.5") unless `stride_in` says
        otherwise. He et al., Identity Mappings (arXiv 1603.05027), for the blocks that activate
        first.
    """

    family = "resnet"
    head_name = "fc"

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        check_choice("block", config.block, get_args(BlockKind))
        check_choice("stem_kind", config.stem_kind, get_args(StemKind))
        stages = len(config.blocks)
        if not stages == len(config.hidden_channels) == len(config.out_channels):
            raise ShapeError(
                f"`blocks` (={config.blocks}), `hidden_channels` (={config.hidden_channels}) and "
                f"`out_channels` (={config.out_channels}) must have one number for each stage"
            )
        has_steps = config.stem_kind == "7x7"
        self.conv1 = nn.Conv2d(
            config.in_channels,
            config.stem_channels,
            7 if has_steps else 3,
            stride=2 if has_steps else 1,
            padding=3 if has_steps else 1,
            bias=False,
        )
        # Blocks that activate first do so with the stem's channels too, and leave the last sum to a
        # norm behind them all.
        activates_first = config.block == "preact_bottleneck"
        self.bn1 = nn.Identity() if activates_first else nn.BatchNorm2d(config.stem_channels)
        self.act1 = nn.Identity() if activates_first else relu()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if has_steps else nn.Identity()
        self.stage_names = tuple(f"layer{stage + 1}" for stage in range(stages))
        for stage, name in enumerate(self.stage_names):
            self.add_module(name, _make_stage(config, stage))
        last_channels = config.out_channels[-1]
        self.bn2 = nn.BatchNorm2d(last_channels) if activates_first else nn.Identity()
        self.act2 = relu() if activates_first else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(last_channels, config.num_classes)
        initialize_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's feature map, `(N, out_channels[-1], H', W')`.

        With four stages and the 7x7 stem, `H'` is H / 32; with three and the 3x3 stem, H / 4.
        """
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
        return self.act2(self.bn2(x))

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
        return BasicBlock(
            in_channels, hidden_channels, out_channels, stride=stride, shortcut=config.shortcut
        )
    if config.block == "preact_bottleneck":
        return PreactBottleneck(in_channels, hidden_channels, out_channels, stride=stride)
    return Bottleneck(
        in_channels, hidden_channels, out_channels, stride=stride, stride_in=config.stride_in
    )
