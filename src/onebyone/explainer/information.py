"""How much of what a 1x1 convolution reads can be told from what it gives."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one 1x1 convolution that makes fewer channels keeps of its input.

    All shares are parts of the variance of the input, 0 to 1, that the best linear decoder
    reconstructs.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        path: Module that it came from.
        in_channels: Channels that it reads.
        out_channels: Channels that it gives.
        samples: Pixels of all images that were looked at.
        rank_in: Effective rank of the input: the exponential of the entropy of its spectrum.
        rank_out: The same of the output.
        kept: From its output.
        best: From as many numbers of the best choice, the principal components: a bound.
        random: From as many random mixtures of the channels.
        width_99: Channels that would be enough for 99 % of `kept`.
        width_95: Channels that would be enough for 95 % of `kept`.
    """

    name: str
    path: str
    in_channels: int
    out_channels: int
    samples: int
    rank_in: float
    rank_out: float
    kept: float
    best: float
    random: float
    width_99: int
    width_95: int

    @property
    def is_scarce(self) -> bool:
        """Whether there are too few samples to trust the shares: below 10 for each channel."""
        return self.samples < 10 * self.in_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """What the reductions of a network keep, on some images.

    Attributes:
        layers: In the order in which they run.
        images: How many images were looked at.
        source: Where they came from, for people, such as "8 crops of each of 7 sample photos".
    """

    layers: tuple[Kept, ...]
    images: int
    source: str
