"""What every network of the zoo offers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from onebyone.models.card import ModelCard

StemKind = Literal["7x7", "3x3"]
"""How a network begins: by shrinking photos four times, or by keeping the grid of small images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """All that a network is built from: plain numbers and words, so that a checkpoint can hold it.

    Attributes:
        num_classes: Scores that come out.
        in_channels: Channels of an image: 3 for colours, 1 for grey.
    """

    num_classes: int = 1000
    in_channels: int = 3


class Network(nn.Module):
    """Turn images into one score a class.

    Attributes:
        family: Name of the family in checkpoints.
        config: What the network was built from.
        card: How to use it: preprocessing, class names, origin of the weights.

    Shape: `(N, config.in_channels, H, W) -> (N, config.num_classes)`, scores before any softmax.
    """

    family: ClassVar[str]
    head_name: str = "classifier"
    """Path of the layer that gives one score a class."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.card = ModelCard(model=self.family)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, `(N, C, H', W')`."""
        raise NotImplementedError

    def forward_head(self, x: Tensor) -> Tensor:
        """Return the class scores, `(N, num_classes)`, of a last feature map."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores, `(N, num_classes)`, of a batch of images."""
        return self.forward_head(self.forward_features(x))
