"""Basic blocks in the place of bottlenecks: as many, and with a narrower residual stream."""

from dataclasses import replace
from math import prod

from onebyone.explainer.cost import CostReport
from onebyone.explainer.counterfactuals.changes import (
    Changes,
    bottlenecks,
    dense_chain,
    inside,
    norm_params,
    norms_per_channel,
)
from onebyone.explainer.structure.chains import Chain
from onebyone.explainer.structure.patterns import Pattern
from onebyone.explainer.structure.wiring import Residual, Wiring
from onebyone.graph import Arithmetic, Concat, Convolution, Node, Opaque, Reshape, Slice


def as_basic_blocks(wiring: Wiring, cost: CostReport) -> Changes | None:
    """Replace each bottleneck by two dense k x k at its inner width, and narrow the stream to it.

    Whoever reads the stream reads fewer channels. A shortcut projects to the inner width, and is
    the identity where that is the width and the size that it has.

    Returns:
        None where a bottleneck is in no residual block, or where the widths of two values that are
        added would then differ, or cannot be known.
    """
    chains = bottlenecks(wiring, (Pattern.BOTTLENECK,))
    residuals = {
        chain.last.name: residual
        for residual in wiring.residuals
        for chain in chains
        if chain.last.name in residual.branch
        and wiring.graph[residual.sum] in wiring.followers(chain.last)
    }
    if len(residuals) < len(chains):
        return None
    return _Narrowing(wiring, cost, chains, residuals).run()


class _Narrowing:
    """Go through a network, and keep the width that each value then has.

    Args:
        wiring: Of the graph.
        cost: Of its layers.
        chains: The bottlenecks.
        residuals: By the name of its last layer, the residual block that a bottleneck is in.
    """

    def __init__(
        self,
        wiring: Wiring,
        cost: CostReport,
        chains: list[Chain],
        residuals: dict[str, Residual],
    ) -> None:
        self._wiring = wiring
        self._costs = {layer.name: layer for layer in cost.layers}
        self._changes = Changes()
        self._widths: dict[str, int] = {}
        self._identities: set[str] = set()
        self._ends = {chain.last.name: chain for chain in chains}
        self._inner = {
            name: chain.inner for chain in chains for name in residuals[chain.last.name].shortcut
        }
        self._inside = {
            name for chain in chains for name in inside(wiring, chain.first, chain.last)
        }

    def run(self) -> Changes | None:
        """Return what becomes of the layers; None if widths do not fit."""
        for node in self._wiring.graph:
            width = self._width(node)
            if width is None:
                return None
            self._widths[node.name] = width
            if node.name not in self._inside:
                kept = 0 if node.name in self._identities else width
                self._changes.count(node, _narrowed(node, kept) - norm_params(node))
        return self._changes

    def _width(self, node: Node) -> int | None:
        """Return how many channels a node then gives, and note what becomes of it."""
        if node.name in self._ends:
            return self._block(self._ends[node.name])
        if node.name in self._inside or not node.inputs:
            return _channels(node)
        read = [self._widths[name] for name in node.inputs]
        if isinstance(node, Convolution):
            return self._convolution(node, read[0])
        if isinstance(node, Concat):
            return sum(read)
        if isinstance(node, Reshape):
            return read[0] * prod(self._wiring.graph[node.inputs[0]].shape[2:])
        if isinstance(node, Arithmetic):
            return max(read) if len({*read} - {1}) <= 1 else None
        if isinstance(node, Opaque) or (isinstance(node, Slice) and node.dim == 1):
            is_same = read == [_channels(self._wiring.graph[name]) for name in node.inputs]
            return _channels(node) if is_same else None
        return read[0]

    def _block(self, chain: Chain) -> int:
        names = inside(self._wiring, chain.first, chain.last)
        n, _, *size = chain.last.shape
        self._changes.drop(self._wiring, names)
        self._changes.layers[chain.last.name] = dense_chain(
            self._wiring,
            chain,
            2,
            (n, chain.inner, *size),
            in_channels=self._widths[chain.first.inputs[0]],
        )
        self._changes.count(chain.last, norms_per_channel(self._wiring, names) * chain.inner)
        self._changes.replaced += 1
        return chain.inner

    def _convolution(self, node: Convolution, in_channels: int) -> int | None:
        cost = self._costs[node.name]
        out_channels = self._inner.get(node.name) or self._out_channels(node)
        is_identity = in_channels == out_channels and cost.input_shape[2:] == node.shape[2:]
        if node.name in self._inner and is_identity:
            self._changes.layers[node.name] = ()
            self._identities |= {*self._wiring.readers[node.name]}
        elif node.is_channelwise:
            out_channels = in_channels
            self._resize(node, in_channels, out_channels, groups=in_channels)
        elif in_channels == cost.input_shape[1] or node.groups == 1:
            self._resize(node, in_channels, out_channels, groups=node.groups)
        else:
            return None
        return out_channels

    def _out_channels(self, node: Convolution) -> int:
        """Return how many channels a layer gives: its own, or as many as what its value scales."""
        product = self._wiring.makes_factor(node)
        scaled = self._wiring.carried(self._wiring.graph[product]) if product else None
        if scaled is None or _channels(self._wiring.graph[scaled]) != node.shape[1]:
            return node.shape[1]
        return self._widths.get(scaled, node.shape[1])

    def _resize(
        self, node: Convolution, in_channels: int, out_channels: int, *, groups: int
    ) -> None:
        cost = self._costs[node.name]
        n, _, *in_size = cost.input_shape
        _, _, *out_size = cost.output_shape
        weights = in_channels // groups * prod(node.kernel_size)
        resized = replace(
            cost,
            macs=n * prod(out_size) * out_channels * weights,
            params=out_channels * (weights + (node.bias is not None)),
            input_shape=(n, in_channels, *in_size),
            output_shape=(n, out_channels, *out_size),
            groups=groups if cost.groups > 1 else 1,
        )
        if resized != cost:
            self._changes.layers[node.name] = (resized,)


def _channels(node: Node) -> int:
    return node.shape[1] if len(node.shape) > 1 else 1


def _narrowed(node: Node, width: int) -> int:
    """Return the learnable numbers of a norm at another width; 0 for any other node."""
    return norm_params(node) * width // _channels(node)
