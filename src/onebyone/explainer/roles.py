"""What every 1x1 convolution is for, read off the graph."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a 1x1 convolution is for; each has one, the first of these that fits."""

    GATE = "gate"
    """Computes a factor for each channel, as in squeeze-and-excitation."""
    HEAD = "head"
    """Gives the scores of the classes."""
    SHORTCUT = "shortcut"
    """Projects what skips a block, so that it can be added to what the block gives."""
    PROJECT = "linear projection"
    """Reduces, and no activation follows: the end of an inverted bottleneck."""
    MERGE = "merge"
    """Mixes branches that were concatenated before it."""
    REDUCE = "reduce"
    EXPAND = "expand"
    MIX = "mix"
    """Has as many channels behind it as before."""


class Pattern(StrEnum):
    """Named arrangements of layers that a 1x1 convolution may be a part of."""

    BOTTLENECK = "bottleneck"
    """Large, small, large: ResNet's."""
    INVERTED_BOTTLENECK = "inverted bottleneck"
    """Small, large, small: MobileNetV2's."""
    INCEPTION = "inception branch"
    FILTER_EXPANSION = "linear filter expansion"
    """Inception-ResNet's: restores the width of the residual stream, with neither norm nor
    activation."""
    MLPCONV = "mlpconv"
    """Network in Network's: a k x k and then 1x1s, each with an activation."""
    SEPARABLE = "depthwise separable"
    """A depthwise convolution, and the 1x1 that mixes its channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointwise:
    """What one 1x1 convolution is for.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        path: Module that it came from.
        role: What it is for.
        pattern: Arrangement that it is a part of; None if it is in none that has a name.
        in_channels: Channels that it reads.
        out_channels: Channels that it gives.
        stride: Rows and columns from one position that it reads to the next.
        norm: Kind of norm behind it, such as "batch norm"; None if there is none.
        activation: Function behind it, such as "relu6", before any other layer or sum; None if it
            is linear.
        dropout: Whether dropout follows, which does something in training only.
        why: What in the graph says so, for people, such as "read by the sum layer1.0.add".
    """

    name: str
    path: str
    role: Role
    pattern: Pattern | None
    in_channels: int
    out_channels: int
    stride: tuple[int, int]
    norm: str | None
    activation: str | None
    dropout: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """Three layers across the sum of a residual network: k x k, expand, the next block's reduce.

    They look like small -> large -> small, and are no block: between the second and the third lie
    a norm, the sum with the shortcut, and an activation.

    Attributes:
        layers: Paths of the three.
        channels: Widths on the way: what the k x k gives, the stream's, what the reduce gives.
        between: What lies between the second and the third, in order, such as
            `("batch norm", "add", "relu")`.
    """

    layers: tuple[str, str, str]
    channels: tuple[int, int, int]
    between: tuple[str, ...]
