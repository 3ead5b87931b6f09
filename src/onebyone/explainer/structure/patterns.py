"""Arrangements of layers that have a name."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import permutations

from onebyone.explainer.structure.behind import look_behind
from onebyone.explainer.structure.chains import chains, is_spatial, only_feeds, pointwise
from onebyone.explainer.structure.wiring import Wiring
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    LayerNorm,
    Node,
    Opaque,
    Pool,
    Reshape,
    Softmax,
    Upsample,
)


class Pattern(StrEnum):
    """Named arrangements of layers that a 1x1 convolution may be a part of.

    Each 1x1 is in one at most, the first of these that fits. Shortcut projections and gates stand
    beside an arrangement, and are in none.
    """

    FILTER_EXPANSION = "linear filter expansion"
    """Inception-ResNet's: restores the width of the residual stream, with neither norm nor
    activation. The 1x1 reads concatenated branches, gives more channels than it reads, and what it
    gives goes to the sum, scaled at most."""
    BOTTLENECK = "bottleneck"
    """Large, small, large: ResNet's. Two 1x1s and a k x k between them, at a width that is below
    what the last gives and, unless the block's shortcut projects, not above what the first reads.
    """
    INVERTED_BOTTLENECK = "inverted bottleneck"
    """Small, large, small: MobileNetV2's, and with the k x k before both 1x1s ConvNeXt's. The width
    between them is above both outer widths; one of the two may be as large where the k x k is
    depthwise and the last linear."""
    INCEPTION = "inception branch"
    """One of several chains of layers that read the same map and are concatenated, of which one at
    least has a kernel larger than 1x1."""
    SEPARABLE = "depthwise separable"
    """A depthwise convolution, and the 1x1 that mixes its channels."""
    MLPCONV = "mlpconv"
    """Network in Network's: a dense k x k and then 1x1s, each with an activation, and no pool or
    second reader between."""
    HEAD_FEATURES = "head features"
    """Behind the last block: makes the features that the pool and the classifier read."""


def find_patterns(wiring: Wiring) -> dict[str, Pattern]:
    """Return the pattern of each 1x1 convolution that is in one, by name."""
    found: dict[str, Pattern] = {}
    for pattern, find in _FINDERS.items():
        for node in find(wiring):
            found.setdefault(node.name, pattern)
    return found


def keeps_scores(wiring: Wiring, node: Node) -> bool:
    """Whether the scores of classes are still that behind a node."""
    if isinstance(node, Arithmetic):
        return any(wiring.nodes(node.inputs, Constant))
    is_other = isinstance(node, Opaque) and len(node.inputs) == 1 and "conv" not in str(node.target)
    return is_other or isinstance(node, (Activation, Pool, Softmax, Reshape, Upsample))


def leads_out(wiring: Wiring, node: Node, passes: Callable[[Wiring, Node], bool]) -> bool:
    """Whether all ways from a node lead out of the network, through nodes that may be passed."""
    waiting, seen = [node.name], {node.name}
    while waiting:
        name = waiting.pop()
        readers = wiring.readers[name]
        if not (readers or wiring.graph.is_output(name)):
            return False
        if not all(passes(wiring, wiring.graph[reader]) for reader in readers):
            return False
        waiting += {*readers} - seen
        seen |= {*readers}
    return True


def _filter_expansions(wiring: Wiring) -> Iterator[Convolution]:
    for residual in wiring.residuals:
        added = {_unscaled(wiring, name) for name in wiring.graph[residual.sum].inputs}
        for node in wiring.nodes(added & {*residual.branch}, Convolution):
            widens = node.weight.shape[0] > node.weight.shape[1]
            if widens and isinstance(wiring.source(node), Concat):
                yield node


def _unscaled(wiring: Wiring, name: str) -> str:
    """Return the value that a value is, constants aside that it is multiplied with."""
    node = wiring.graph[name]
    while isinstance(node, Arithmetic) and any(wiring.nodes(node.inputs, Constant)):
        node = wiring.graph[wiring.carried(node) or node.inputs[0]]
    return node.name


def _bottlenecks(wiring: Wiring) -> Iterator[Convolution]:
    projected = {
        name
        for residual in wiring.residuals
        if any(wiring.nodes(residual.shortcut, Convolution))
        for name in residual.branch
    }
    for chain in chains(wiring):
        # Behind a stem that is narrower than the stream, a block may be wider than what it reads.
        narrows = chain.inner <= chain.in_channels or chain.last.name in projected
        if chain.middle and narrows and chain.inner < chain.out_channels:
            yield from (chain.first, chain.last)


def _inverted_bottlenecks(wiring: Wiring) -> Iterator[Convolution]:
    for chain in chains(wiring):
        is_linear = look_behind(wiring, chain.last, ()).activation is None
        is_depthwise = any(node.is_depthwise for node in chain.middle)
        outer = chain.in_channels, chain.out_channels
        is_widest = chain.inner == max(outer) > min(outer) and is_depthwise and is_linear
        if chain.inner > max(outer) or is_widest:
            yield from (chain.first, chain.last)


def _inception_branches(wiring: Wiring) -> Iterator[Convolution]:
    for concat in wiring.nodes(wiring.graph.nodes, Concat):
        for branch in branches(wiring, concat):
            yield from wiring.nodes(branch, Convolution)


def branches(wiring: Wiring, concat: Concat) -> tuple[tuple[str, ...], ...]:
    """Return the branches that a concatenation reads, if they begin at one map; or none.

    Two of them at least have convolutions, and one has a kernel larger than 1x1. None goes on from
    where another, or the map, is read, and none has a sum in it.
    """
    fork = wiring.fork(concat.inputs)
    if fork is None or isinstance(wiring.graph[fork], Constant):
        return ()
    found = tuple(wiring.between(fork, name) for name in dict.fromkeys(concat.inputs))
    names = [name for branch in found for name in branch]
    has_sum = any(wiring.carried(node) is None for node in wiring.nodes(names, Arithmetic))
    has_kernel = any(is_spatial(node) for node in wiring.nodes(names, Convolution))
    with_convolutions = [branch for branch in found if any(wiring.nodes(branch, Convolution))]
    pairs = permutations(dict.fromkeys(concat.inputs), 2)
    is_apart = not any(wiring.depends(one, other) for one, other in pairs)
    if is_apart and has_kernel and not has_sum and len(with_convolutions) > 1:
        return found
    return ()


def _separable(wiring: Wiring) -> Iterator[Convolution]:
    for node in pointwise(wiring):
        source = wiring.source(node)
        is_mixing = isinstance(source, Convolution) and source.is_depthwise
        if is_mixing and only_feeds(wiring, source, node):
            yield node


def _mlpconvs(wiring: Wiring) -> Iterator[Convolution]:
    found: set[str] = set()
    for node in pointwise(wiring):
        *way, source = wiring.way_back(node)
        is_first = is_spatial(source) and source.groups == 1
        follows = bool(way) and all(isinstance(one, (Activation, *_NORMS)) for one in way)
        if follows and (is_first or source.name in found) and only_feeds(wiring, source, node):
            is_activated = look_behind(wiring, node, ()).activation is not None
            if is_activated and any(isinstance(one, Activation) for one in way):
                found.add(node.name)
                yield node


def _head_features(wiring: Wiring) -> Iterator[Convolution]:
    for node in pointwise(wiring):
        if leads_out(wiring, node, _passes_features) and not leads_out(wiring, node, keeps_scores):
            yield node


def _passes_features(wiring: Wiring, node: Node) -> bool:
    """Whether a node may stand between the last block's features and the classifier's scores."""
    is_norm = isinstance(node, _NORMS)
    is_layer = isinstance(node, Convolution) and node.shape[2:] == (1, 1) and node.is_pointwise
    return is_norm or is_layer or keeps_scores(wiring, node)


_NORMS = (BatchNorm, LayerNorm)

_FINDERS: dict[Pattern, Callable[[Wiring], Iterator[Convolution]]] = {
    Pattern.FILTER_EXPANSION: _filter_expansions,
    Pattern.BOTTLENECK: _bottlenecks,
    Pattern.INVERTED_BOTTLENECK: _inverted_bottlenecks,
    Pattern.INCEPTION: _inception_branches,
    Pattern.SEPARABLE: _separable,
    Pattern.MLPCONV: _mlpconvs,
    Pattern.HEAD_FEATURES: _head_features,
}
