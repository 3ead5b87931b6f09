"""MobileNetV2 and EfficientNet-Lite: one network, two tables."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from onebyone.models.network import Network, NetworkConfig
from onebyone.nn import (
    DepthwiseSeparable,
    InvertedResidual,
    PointwiseConv2d,
    initialize_weights,
    padded_conv,
    relu6,
)
from onebyone.nn.conv_unit import NormFactory
from onebyone.nn.inverted_residual import Padding


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileStage:
    """Equal blocks in a row; the first makes the step and the change of width.

    Attributes:
        blocks: Number of blocks.
        channels: Width of the residual stream.
        expand: Hidden width over the width that comes in; 1 makes depthwise separable blocks.
        kernel_size: Height and width of the depthwise kernels.
        stride: Step of the first block.
    """

    blocks: int
    channels: int
    expand: int
    kernel_size: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetConfig(NetworkConfig):
    """Stages and conventions of a MobileNetV2-like network.

    Attributes:
        stages: The blocks between stem and head.
        stem_channels: Width behind the 3x3 stem.
        stem_stride: Step of the stem.
        head_channels: Width of the last 1x1.
        padding: "symmetric" is PyTorch's rule, "same" TensorFlow's. Weights trained with one give
            wrong scores with the other, and no error.
        norm_eps: Number added to each variance under the batch norms' square roots.
        dropout: Share dropped before the classifier in training.
    """

    stages: tuple[MobileStage, ...]
    stem_channels: int = 32
    stem_stride: int = 2
    head_channels: int = 1280
    padding: Padding = "symmetric"
    norm_eps: float = 1e-5
    dropout: float = 0.2


class MobileNet(Network):
    """Stack inverted residuals: nine tenths of the multiply-adds are in 1x1s.

    Parameter names are timm's.

    Source: Sandler et al., MobileNetV2 (arXiv 1801.04381), table 2; and, for EfficientNet-Lite
        (ReLU6, no squeeze-and-excite, stem and head never scaled), TensorFlow's
        `efficientnet_lite_builder.py` on top of Tan and Le, EfficientNet (arXiv 1905.11946).
    """

    family = "mobilenet"

    def __init__(self, config: MobileNetConfig) -> None:
        super().__init__(config)
        norm = partial(nn.BatchNorm2d, eps=config.norm_eps)
        self.conv_stem = padded_conv(
            config.in_channels,
            config.stem_channels,
            3,
            stride=config.stem_stride,
            padding=config.padding,
        )
        self.bn1 = norm(config.stem_channels)
        self.act1 = relu6()
        stages: list[nn.Module] = []
        channels = config.stem_channels
        for stage in config.stages:
            stages.append(_make_stage(stage, channels, padding=config.padding, norm=norm))
            channels = stage.channels
        self.blocks = nn.Sequential(*stages)
        self.conv_head = PointwiseConv2d(channels, config.head_channels, bias=False)
        self.bn2 = norm(config.head_channels)
        self.act2 = relu6()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.head_channels, config.num_classes)
        initialize_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last 1x1's feature map, `(N, head_channels, H / 32, W / 32)`."""
        x = self.act1(self.bn1(self.conv_stem(x)))
        x = self.blocks(x)
        return self.act2(self.bn2(self.conv_head(x)))

    def forward_head(self, x: Tensor) -> Tensor:
        """Average over the grid, drop out, then score the classes."""
        return self.classifier(self.dropout(self.avgpool(x).flatten(1)))


def _make_stage(
    stage: MobileStage, in_channels: int, *, padding: Padding, norm: NormFactory
) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for i in range(stage.blocks):
        stride = stage.stride if i == 0 else 1
        if stage.expand == 1:
            block = DepthwiseSeparable(
                in_channels,
                stage.channels,
                stage.kernel_size,
                stride=stride,
                padding=padding,
                norm=norm,
            )
        else:
            block = InvertedResidual(
                in_channels,
                in_channels * stage.expand,
                stage.channels,
                stage.kernel_size,
                stride=stride,
                padding=padding,
                norm=norm,
            )
        blocks.append(block)
        in_channels = stage.channels
    return nn.Sequential(*blocks)
