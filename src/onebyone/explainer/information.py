"""How much of what a 1x1 convolution reads can be told from what it gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor

from onebyone.bench.measure import Watch, unwatched
from onebyone.errors import ModelError
from onebyone.explainer.samples import Images, check_images
from onebyone.graph import Convolution, Graph, Padding, Pair, interpret_nodes

DRAWS = 3
"""Random mixtures whose mean is reported; one draw is off by about 0.003, of few channels 0.008."""

MAX_PRODUCTS = 2**29
"""Multiply-adds that one image's covariance of one layer may take, in float64: some 20 ms.

That is 56 x 56 pixels of 413 channels, or 7 x 7 pixels of 3300.
"""

MAX_HELD = 2**27
"""Numbers of all covariances that are held at a time, 1 GiB; for more, the network runs again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one 1x1 convolution that makes fewer channels keeps of its input.

    All shares are parts of the variance of the input, 0 to 1, that the best linear decoder
    reconstructs. An input that never varies is kept by anything.

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
        random: From as many random mixtures of the channels, the mean of several draws.
        width_99: Channels that would be enough for 99 % of `kept`, if they were the best summary
            of the output.
        width_95: The same for 95 %.
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
        source: Where they came from, for people, such as "8 crops of each of 6 sample photos".
    """

    layers: tuple[Kept, ...]
    images: int
    source: str


def measure_information(graph: Graph, images: Images, *, watch: Watch = unwatched) -> Information:
    """Measure what every 1x1 convolution that makes fewer channels keeps of its input.

    Samples are the pixels that it reads, of all images: a 1x1 with stride 2 reads a quarter. Where
    there are very many (see `MAX_PRODUCTS`), every n-th pixel is taken. All follows from the
    covariance of the input, S, and the weight, W: the output's is W S W', and the best linear
    decoder reconstructs the part tr(S W' (W S W')^-1 W S) / tr S of the variance.

    Args:
        graph: As it was captured, for one image.
        images: Some for which there are 10 samples or more for each channel, or the shares say
            little.
        watch: Shows a person how far it has come.

    Raises:
        ShapeError: If the images are not what the network reads.
        ModelError: If it computes numbers that are not finite.
    """
    check_images(graph, images)
    found: dict[str, Kept] = {}
    for sources in _in_turns(_sources(graph)):
        for image in watch(range(len(images)), "reading images"):
            _read(graph, images[image], sources)
        for source in watch(sources, "solving for the best decoders"):
            found.update((kept.name, kept) for kept in _explain(source))
    layers = tuple(found[node.name] for node in graph if node.name in found)
    return Information(layers=layers, images=len(images), source=images.source)


class _Source:
    """What some 1x1 convolutions read: the same pixels of one node's value."""

    def __init__(self, name: str, channels: int, stride: Pair, padding: Padding) -> None:
        self.name = name
        self.channels = channels
        self.stride = stride
        self.padding = padding
        self.readers: list[Convolution] = []
        self.samples = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.scatter = torch.zeros(0, dtype=torch.float64)
        """Sum of the outer products of what samples differ from their mean by, `(C, C)`."""

    @property
    def covariance(self) -> Tensor:
        return self.scatter / self.samples

    def add(self, value: Tensor) -> None:
        """Add the samples in a value `(N, C, H, W)`, by the rule that joins two sets of samples."""
        samples = _thinned(self._read_pixels(value)).double()
        count = samples.shape[1]
        mean = samples.mean(1)
        samples = samples - mean[:, None]
        moved = mean - self.mean
        total = self.samples + count
        if not self.samples:
            self.scatter = torch.zeros(self.channels, self.channels, dtype=torch.float64)
        self.scatter.addmm_(samples, samples.T)
        self.scatter.addr_(moved, moved, alpha=self.samples * count / total)
        self.mean += moved * (count / total)
        self.samples = total

    def _read_pixels(self, value: Tensor) -> Tensor:
        """Return the pixels that are read, `(C, M)`; padding is read as well."""
        top, bottom, left, right = self.padding
        value = F.pad(value, (left, right, top, bottom)) if any(self.padding) else value
        return value[:, :, :: self.stride[0], :: self.stride[1]].transpose(0, 1).flatten(1)


def _sources(graph: Graph) -> list[_Source]:
    """Return what the reductions read, each once."""
    found: dict[tuple[str, Pair, Padding], _Source] = {}
    for node in graph:
        if isinstance(node, Convolution) and _is_reduction(node):
            key = node.inputs[0], node.stride, node.padding
            channels = node.weight.shape[1]
            found.setdefault(key, _Source(key[0], channels, *key[1:])).readers.append(node)
    return list(found.values())


def _is_reduction(node: Convolution) -> bool:
    out_channels, in_channels = node.weight.shape[:2]
    return node.is_pointwise and not node.is_linear and out_channels < in_channels


def _in_turns(sources: Sequence[_Source]) -> Iterator[list[_Source]]:
    """Share them out to runs of the network, so that no run holds too many numbers."""
    turn: list[_Source] = []
    for source in sources:
        if turn and sum(other.channels**2 for other in [*turn, source]) > MAX_HELD:
            yield turn
            turn = []
        turn.append(source)
    if turn:
        yield turn


def _read(graph: Graph, image: Tensor, sources: Sequence[_Source]) -> None:
    """Run the network on one image as far as is needed, and let each source add what it sees."""
    waiting: dict[str, list[_Source]] = {}
    for source in sources:
        waiting.setdefault(source.name, []).append(source)
    for name, value in interpret_nodes(graph, [image]):
        for source in waiting.pop(name, ()):
            source.add(value)
        if not waiting:
            return


def _thinned(pixels: Tensor) -> Tensor:
    """Return every n-th of the pixels `(C, M)`, n being 1 unless there are very many."""
    channels, count = pixels.shape
    step = max(1, count * channels**2 // MAX_PRODUCTS)
    while gcd(step, count) > 1:  # or it would see the same few columns of every row
        step += 1
    return pixels[:, ::step]


def _explain(source: _Source) -> Iterator[Kept]:
    covariance = source.covariance
    if not covariance.isfinite().all():
        raise ModelError(
            f"{source.readers[0].place}: it reads numbers that are not finite on these images; "
            "weights that were trained were wanted, and images prepared as for the training"
        )
    spectrum = torch.linalg.eigvalsh(covariance).clamp(min=0).flip(0)
    for node in source.readers:
        out_channels, in_channels = node.weight.shape[:2]
        seen = _see(covariance, node.weight.flatten(1).double())
        parts = torch.linalg.eigvalsh(seen.explaining @ seen.explaining.T).clamp(min=0).flip(0)
        yield Kept(
            name=node.name,
            path=node.path,
            in_channels=in_channels,
            out_channels=out_channels,
            samples=source.samples,
            rank_in=effective_rank(spectrum),
            rank_out=effective_rank(seen.spectrum),
            kept=_share(seen.explained, spectrum),
            best=_share(float(spectrum[:out_channels].sum()), spectrum),
            random=_random(covariance, spectrum, out_channels),
            width_99=_width(parts, 0.99),
            width_95=_width(parts, 0.95),
        )


def effective_rank(spectrum: Tensor) -> float:
    """Return the exponential of the entropy of eigenvalues, seen as shares of their sum.

    It is n where n of them are equal and the others 0, and 0 where all are.

    Source: Roy and Vetterli, The effective rank (2007).
    """
    spectrum = spectrum.clamp(min=0)
    total = spectrum.sum()
    return float(torch.special.entr(spectrum / total).sum().exp()) if total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a linear map of samples tells of them.

    Attributes:
        spectrum: Eigenvalues of the covariance of what it gives.
        explaining: `B`, such that `B' B` is the covariance of what the best linear decoder makes of
            that: S W' (W S W')^-1 W S. The eigenvalues of `B B'` are what the best linear summaries
            of the output explain, one after the other (reduced-rank regression).
    """

    spectrum: Tensor
    explaining: Tensor

    @property
    def explained(self) -> float:
        """Variance that the decoder reconstructs."""
        return float(self.explaining.square().sum())


def _see(covariance: Tensor, matrix: Tensor) -> _Seen:
    crossed = matrix @ covariance
    spectrum, directions = torch.linalg.eigh(crossed @ matrix.T)
    # Where the output does not vary, it tells nothing: channels that are dead, or mixtures.
    varies = spectrum > spectrum[-1] * len(covariance) * torch.finfo(torch.float64).eps
    return _Seen(spectrum, (directions[:, varies] / spectrum[varies].sqrt()).T @ crossed)


def _share(part: float, spectrum: Tensor) -> float:
    total = float(spectrum.sum())
    return min(1.0, part / total) if total > 0 else 1.0


def _random(covariance: Tensor, spectrum: Tensor, width: int) -> float:
    """Return what random mixtures of the channels keep, the mean of some draws."""
    generator = torch.Generator().manual_seed(0)
    shape = DRAWS, width, len(covariance)
    draws = torch.randn(shape, generator=generator, dtype=torch.float64)
    return sum(_share(_see(covariance, draw).explained, spectrum) for draw in draws) / DRAWS


def _width(parts: Tensor, share: float) -> int:
    """Return how many of the parts, largest first, have that share of their sum, at least."""
    sums = parts.cumsum(0)
    return int((sums < share * sums[-1]).sum()) + 1 if len(sums) else 0
