"""Network in Network."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from onebyone.errors import check_choice
from onebyone.models.network import Network, NetworkConfig
from onebyone.nn import MlpConv, initialize_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class NiNStage:
    """One mlpconv layer and the pool behind it.

    Attributes:
        channels: Widths of the k x k convolution and of the 1x1s behind it.
        kernel_size: Height and width of the k x k kernel.
        stride: Its step.
        padding: Zeros on each side of its input.
        pool: Kind of the 3x3 pool of step 2 that follows; None for none.
        dropout: Share of values dropped behind the pool in training.
    """

    channels: tuple[int, ...]
    kernel_size: int
    stride: int = 1
    padding: int = 0
    pool: Literal["max", "avg"] | None = None
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NiNConfig(NetworkConfig):
    """Stages of a Network in Network.

    Attributes:
        stages: The mlpconv layers; the last one gets one more 1x1, to the classes.
    """

    stages: tuple[NiNStage, ...]


class NiN(Network):
    """Score the classes with a last 1x1 and average the scores over the grid: no linear layer.

    Every convolution, the scoring one too, has a bias and a ReLU; there is no batch norm. Pools
    round up, as Caffe's do.

    Raises:
        UnknownNameError: If a stage's `pool` is no word that it may be.

    Source: Lin et al., Network In Network (arXiv 1312.4400), figure 2, with the widths of the
        authors' Caffe models for CIFAR-10 and ImageNet.
    """

    family = "nin"

    def __init__(self, config: NiNConfig) -> None:
        super().__init__(config)
        for stage in config.stages:
            check_choice("pool", stage.pool or "max", _POOLS)
        *body, last = config.stages
        channels = config.in_channels
        stages: list[nn.Module] = []
        for stage in body:
            stages.append(_make_stage(channels, stage, stage.channels))
            channels = stage.channels[-1]
        self.stages = nn.Sequential(*stages)
        self.classifier = _make_stage(channels, last, (*last.channels, config.num_classes))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head_name = f"classifier.0.pointwise{len(last.channels)}.conv"
        initialize_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the feature map that the classifying mlpconv layer reads."""
        return self.stages(x)

    def forward_head(self, x: Tensor) -> Tensor:
        """Score the classes at every position, then average."""
        return self.avgpool(self.classifier(x)).flatten(1)


_POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


def _make_stage(in_channels: int, stage: NiNStage, channels: tuple[int, ...]) -> nn.Sequential:
    parts: list[nn.Module] = [
        MlpConv(
            in_channels, channels, stage.kernel_size, stride=stage.stride, padding=stage.padding
        )
    ]
    if stage.pool:
        parts.append(_POOLS[stage.pool](3, stride=2, ceil_mode=True))
    if stage.dropout:
        parts.append(nn.Dropout(stage.dropout))
    return nn.Sequential(*parts)
