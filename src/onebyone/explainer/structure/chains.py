"""Two 1x1 convolutions and what lies between them: what bottlenecks of both kinds are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import TypeGuard

from onebyone.explainer.structure.behind import look_behind
from onebyone.explainer.structure.wiring import Wiring
from onebyone.graph import Convolution, Node, Pool


def pointwise(wiring: Wiring) -> Iterator[Convolution]:
    """Go through the 1x1 convolutions, those that PyTorch calls linear layers left out."""
    for node in wiring.graph:
        if is_own(node):
            yield node


@dataclass(frozen=True, slots=True)
class Chain:
    """Two 1x1s with nothing between that mixes channels and is a 1x1.

    Attributes:
        first: Gives as many channels as the last reads.
        middle: Kernels larger than 1x1 between the two, in order; none where the two follow each
            other within a residual branch, with an activation between.
        last: Reads what comes of the first, and is the only one to do so.
    """

    first: Convolution
    middle: tuple[Convolution, ...]
    last: Convolution

    @property
    def in_channels(self) -> int:
        """Channels that the first reads."""
        return self.first.weight.shape[1]

    @property
    def inner(self) -> int:
        """Channels between the two."""
        return self.last.weight.shape[1]

    @property
    def out_channels(self) -> int:
        """Channels that the last gives."""
        return self.last.weight.shape[0]


def chains(wiring: Wiring) -> Iterator[Chain]:
    """Go through the chains of a network; two may not share a 1x1.

    A 1x1 that mixes what a depthwise convolution gave mostly ends something. It is the first of a
    chain only if that is wider inside than outside, and ends without activation; such chains come
    before others, as what lies between two of them is none.
    """
    found = (*_residual_chains(wiring), *_plain_chains(wiring))
    ended: set[str] = set()
    for chain in sorted(found, key=lambda chain: not _is_inverted(wiring, chain)):
        source = wiring.source(chain.first)
        is_end = isinstance(source, Convolution) and source.is_depthwise
        ends = {chain.first.name, chain.last.name}
        fits = chain.first.weight.shape[0] == chain.inner
        if fits and (not is_end or _is_inverted(wiring, chain)) and not ends & ended:
            ended |= ends
            yield chain


def _is_inverted(wiring: Wiring, chain: Chain) -> bool:
    """Whether a chain is wider inside than outside, and ends without activation."""
    is_linear = look_behind(wiring, chain.last, ()).activation is None
    return chain.inner > max(chain.in_channels, chain.out_channels) and is_linear


def _residual_chains(wiring: Wiring) -> Iterator[Chain]:
    """Go through residual branches that begin and end with a 1x1, whatever lies between.

    Depthwise convolutions may come first, as in ConvNeXt.
    """
    for residual in wiring.residuals:
        layers = [
            node
            for node in wiring.nodes(residual.branch, Convolution)
            if not wiring.makes_factor(node)
        ]
        layers = list(dropwhile(lambda node: node.is_depthwise, layers))
        if len(layers) >= 2 and _is_chain(wiring, layers):
            first, *middle, last = layers
            if middle or look_behind(wiring, first, ()).activation is not None:
                yield Chain(first, tuple(middle), last)


def _is_chain(wiring: Wiring, layers: Sequence[Convolution]) -> bool:
    """Whether layers begin and end with a 1x1, have k x ks between, and lie on ways between."""
    first, *middle, last = layers
    return (
        is_own(first)
        and is_own(last)
        and all(map(is_spatial, middle))
        and all(wiring.depends(node.name, first.name) for node in layers)
        and all(wiring.depends(last.name, node.name) for node in layers)
    )


def _plain_chains(wiring: Wiring) -> Iterator[Chain]:
    """Go through 1x1, k x k, ..., 1x1, each the only one to read what the one before it gave."""
    for last in pointwise(wiring):
        middle: list[Convolution] = []
        reader, node = last, wiring.source(last)
        while is_spatial(node) and only_feeds(wiring, node, reader):
            middle.append(node)
            reader, node = node, wiring.source(node)
        if middle and is_own(node) and only_feeds(wiring, node, reader):
            yield Chain(node, tuple(reversed(middle)), last)


def is_own(node: Node) -> TypeGuard[Convolution]:
    """Whether it is a 1x1 convolution of ours."""
    return isinstance(node, Convolution) and node.is_pointwise and not node.is_linear


def is_spatial(node: Node) -> TypeGuard[Convolution]:
    """Whether it is a convolution with a kernel larger than 1x1."""
    return isinstance(node, Convolution) and node.kernel_size != (1, 1)


def only_feeds(wiring: Wiring, node: Node, reader: Node) -> bool:
    """Whether a map becomes nothing but what one layer reads; gates may look at its mean."""
    return [one for one in wiring.followers(node) if not isinstance(one, Pool)] == [reader]
