"""What layers read and what the loss feels of their outputs, as means and covariances.

One pass forwards and one backwards over a few hundred images. Labels are drawn from the network's
own answers, so that the second moment of the gradients is the true Fisher information of a layer's
outputs, and no labels are needed (Martens and Grosse, arXiv 1503.05671, section 5).
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onebyone.bench.measure import Watch, unwatched
from onebyone.shrinking.playback import Playback

MOST_PATCHES = 2**16
"""Patches of one layer that are looked at, in all images together."""

MOST_IMAGES = 64
"""Images that run through the network at once, at most."""

BATCH_NUMBERS = 2**21
"""Numbers of the images that run at once: 13 of 224 x 224, whose backward pass takes some 2 GB."""

CHUNK_NUMBERS = 2**25
"""Numbers that are unfolded at once, 128 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What one convolution reads, and what the loss feels of its output; float64.

    `K` are the numbers of one patch, in the order of `weight.flatten(1)`.

    Attributes:
        mean: `(K,)`, of the patches.
        covariance: `(K, K)`, of the patches, centred.
        gradients: `(N_out, N_out)`, mean of g g^T over output positions, for gradients g of the log
            probability of the network's own answers.
        positions: Output positions of one image.
        count: Patches that were looked at.
    """

    mean: Tensor
    covariance: Tensor
    gradients: Tensor
    positions: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What a layer reads in one network, beside what it gives in another; float64.

    Attributes:
        mean: `(K,)`, of the patches read.
        covariance: `(K, K)`, of the patches read, centred.
        mean_out: `(N_out,)`, of the outputs given.
        cross: `(N_out, K)`, covariance of the outputs with the patches.
        count: Patches that were looked at.
    """

    mean: Tensor
    covariance: Tensor
    mean_out: Tensor
    cross: Tensor
    count: int


def collect_moments(
    network: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    *,
    seed: int = 0,
    most_patches: int = MOST_PATCHES,
    watch: Watch = unwatched,
) -> dict[str, Moments]:
    """Return the moments of layers, over images that a network sees.

    It takes `8 K^2` bytes a layer, and the memory of one batch's backward pass.

    Args:
        network: In evaluation; it is left as it is. What it gives are scores `(N, classes)`, or
            `(N, classes, ...)`; of several outputs, the first.
        layers: Paths of convolutions with one group.
        images: `(N, C, H, W)`.
        seed: What the drawn answers, and the places that are looked at, depend on.
        most_patches: Patches of one layer that are looked at, about.
        watch: Shows a person how far it has come.
    """
    gatherers = {
        path: _Gatherer(_conv(network, path), Places(seed, most_patches, len(images)))
        for path in layers
    }
    drawn = torch.Generator().manual_seed(seed)
    with ExitStack() as hooks, torch.enable_grad():
        for gatherer in gatherers.values():
            hooks.enter_context(gatherer.listening())
        for batch in watch(batched(images), "looking at images"):
            batch = batch.detach().clone().requires_grad_()
            scores = tree_leaves(network(batch))[0]
            # Hooks see the gradients of outputs on their way; those of weights are not computed.
            torch.autograd.grad(_own_answers(scores, drawn), batch)
    return {path: gatherer.moments() for path, gatherer in gatherers.items()}


@torch.no_grad()
def collect_pairs(
    reader: Playback,
    giver: Playback,
    layer: str,
    *,
    seed: int = 0,
    most_patches: int = MOST_PATCHES,
) -> Pairs:
    """Return what a layer reads in one network, beside what it gives in another.

    Both run as far as that layer, and no further.

    Args:
        reader: What the layer reads there is looked at; it may read fewer channels there.
        giver: What the layer gives there is looked at.
        layer: Path of the layer in both, a convolution.
        seed: What the places that are looked at depend on.
        most_patches: Patches that are looked at, about.
    """
    conv, places = giver.convolution(layer), Places(seed, most_patches, giver.count)
    both = Sums()
    for playback in (reader, giver):
        playback.go_to(layer)
    for batch in range(len(giver)):
        x, y = reader.read(layer, batch), giver.give(layer, batch)
        chosen = places.choose(prod(y.shape[2:]))
        for rows, images in _patches(x, conv, chosen):
            both.add(rows, _rows(y[images], chosen))
    mean, covariance = both.mean_and_covariance()
    mean_out, cross = both.beside()
    return Pairs(mean=mean, covariance=covariance, mean_out=mean_out, cross=cross, count=both.count)


class Sums:
    """Sums of rows and of their products, from which means and covariances come.

    Numbers are taken relative to the first rows' mean: of the products of large, almost equal
    numbers, float32 would lose what differs.
    """

    def __init__(self) -> None:
        self.count = 0
        self._rows = self._beside = _Total(torch.empty(0, 0))
        self._products = self._cross = torch.empty(0)

    def add(self, rows: Tensor, beside: Tensor | None = None) -> None:
        """Take in `(n, K)`, and what stands beside it, `(n, M)`: always or never."""
        if not self.count:
            self._rows = _Total(rows)
            self._products = rows.new_zeros((rows.shape[1],) * 2, dtype=torch.float64)
        self.count += len(rows)
        rows = self._rows.add(rows)
        self._products += rows.T @ rows
        if beside is None:
            return
        if self.count == len(rows):
            self._beside = _Total(beside)
            self._cross = rows.new_zeros((beside.shape[1], rows.shape[1]), dtype=torch.float64)
        self._cross += self._beside.add(beside).T @ rows

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Return `(K,)` and `(K, K)`; nothing can be added from then on."""
        mean = self._rows.mean(self.count)
        covariance = self._products.div_(self.count).sub_(torch.outer(mean, mean))
        return mean + self._rows.shift, covariance

    def beside(self) -> tuple[Tensor, Tensor]:
        """Return the mean of what stands beside, `(M,)`, and its covariance with rows, `(M, K)`."""
        mean = self._beside.mean(self.count)
        cross = self._cross / self.count - torch.outer(mean, self._rows.mean(self.count))
        return mean + self._beside.shift, cross


class _Total:
    """Add up rows, relative to the mean of the first ones."""

    def __init__(self, first: Tensor) -> None:
        self.shift = first.mean(0)
        self._total = torch.zeros_like(self.shift, dtype=torch.float64)

    def add(self, rows: Tensor) -> Tensor:
        """Take in rows, and return them as they are relative to that mean."""
        rows = rows - self.shift
        self._total += rows.sum(0, dtype=torch.float64)
        return rows

    def mean(self, count: int) -> Tensor:
        """Return the mean of so many rows, relative to that of the first."""
        return self._total / count


class Places:
    """Choose output positions of a layer, batch by batch; the same for the same seed.

    Args:
        seed: What the choice depends on.
        most: Positions in all images together, about.
        images: How many images there are.
    """

    def __init__(self, seed: int, most: int, images: int) -> None:
        self._drawn = torch.Generator().manual_seed(seed)
        self._each = ceil(most / images)

    def choose(self, positions: int) -> Tensor:
        """Return numbers of positions to look at, of so many in an image, for the next batch."""
        if positions <= self._each:
            return torch.arange(positions)
        return torch.randperm(positions, generator=self._drawn)[: self._each].sort().values


class _Gatherer:
    """Gather one layer's moments while the network runs forth and back."""

    def __init__(self, conv: nn.Conv2d, places: Places) -> None:
        self._conv = conv
        self._places = places
        self._read = Sums()
        self._felt = torch.zeros((conv.out_channels, conv.out_channels), dtype=torch.float64)
        self._positions = 0
        self._felt_count = 0

    @contextmanager
    def listening(self) -> Generator[None]:
        """Listen to the layer."""
        handle = self._conv.register_forward_hook(self._look)
        try:
            yield
        finally:
            handle.remove()

    def _look(self, _: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
        self._positions = prod(y.shape[2:])
        chosen = self._places.choose(self._positions)
        for rows, _images in _patches(args[0].detach(), self._conv, chosen):
            self._read.add(rows)

        def feel(gradient: Tensor) -> None:
            rows = _rows(gradient, chosen)
            self._felt += rows.T @ rows
            self._felt_count += len(rows)

        y.register_hook(feel)
        return y.clone()  # whoever writes into what it reads writes into this

    def moments(self) -> Moments:
        """Return what was gathered."""
        mean, covariance = self._read.mean_and_covariance()
        return Moments(
            mean=mean,
            covariance=covariance,
            gradients=self._felt / max(self._felt_count, 1),
            positions=self._positions,
            count=self._read.count,
        )


def _own_answers(scores: Tensor, drawn: torch.Generator) -> Tensor:
    """Return the log probability of answers that are drawn from the network's own."""
    flat = scores.movedim(1, -1).flatten(0, -2)
    answers = torch.multinomial(flat.detach().softmax(1), 1, generator=drawn)[:, 0]
    return -F.cross_entropy(flat, answers, reduction="sum")


def batched(images: Tensor) -> Sequence[Tensor]:
    """Return images in parts that may run at once."""
    size = max(1, min(MOST_IMAGES, BATCH_NUMBERS // images[0].numel()))
    return images.split(size)


def _patches(x: Tensor, conv: nn.Conv2d, chosen: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """Give the patches `(n, K)` that a layer reads at chosen places, and of which images."""
    assert not isinstance(conv.padding, str)
    positions = prod(_out_size(x, conv))
    each = max(1, CHUNK_NUMBERS // (x.shape[1] * prod(conv.kernel_size) * positions))
    for start in range(0, len(x), each):
        images = slice(start, start + each)
        found = F.unfold(x[images], conv.kernel_size, conv.dilation, conv.padding, conv.stride)
        yield _rows(found, chosen), images


def _out_size(x: Tensor, conv: nn.Conv2d) -> tuple[int, ...]:
    sizes = zip(
        x.shape[2:], conv.kernel_size, conv.stride, conv.padding, conv.dilation, strict=True
    )
    return tuple((n + 2 * int(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def _rows(values: Tensor, chosen: Tensor) -> Tensor:
    """Return `(n, C)`, a row a position, of `(N, C, ...)`."""
    flat = values.flatten(2)
    if len(chosen) < flat.shape[2]:
        flat = flat[:, :, chosen]
    return flat.transpose(1, 2).flatten(0, 1)


def _conv(network: nn.Module, path: str) -> nn.Conv2d:
    conv = network.get_submodule(path)
    assert isinstance(conv, nn.Conv2d)
    return conv
