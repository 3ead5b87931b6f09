"""Other layers in the place of 1x1 convolutions, one way a function."""

from dataclasses import replace

from onebyone.explainer.cost import CostReport, LayerKind
from onebyone.explainer.counterfactuals.changes import (
    Changes,
    bottlenecks,
    dense,
    dense_chain,
    inside,
    norms_per_channel,
)
from onebyone.explainer.structure.chains import is_spatial, only_feeds, pointwise
from onebyone.explainer.structure.patterns import Pattern
from onebyone.explainer.structure.wiring import Wiring
from onebyone.graph import Convolution

_BOTH = (Pattern.BOTTLENECK, Pattern.INVERTED_BOTTLENECK)


def at_the_outer_width(wiring: Wiring, _cost: CostReport) -> Changes:
    """Replace each bottleneck, inverted ones too, by one dense k x k."""
    return _at_the_outer_width(wiring, 1)


def twice_at_the_outer_width(wiring: Wiring, _cost: CostReport) -> Changes:
    """Replace each bottleneck, inverted ones too, by two dense k x k."""
    return _at_the_outer_width(wiring, 2)


def _at_the_outer_width(wiring: Wiring, count: int) -> Changes:
    changes = Changes()
    for chain in bottlenecks(wiring, _BOTH):
        names = inside(wiring, chain.first, chain.last)
        changes.drop(wiring, names)
        changes.layers[chain.last.name] = dense_chain(wiring, chain, count, chain.last.shape)
        # The norm behind the last layer stays; one more lies between each two.
        more = (count - 1) * norms_per_channel(wiring, names) * chain.out_channels
        changes.count(chain.last, more)
        changes.replaced += 1
    return changes


def without_reductions(wiring: Wiring, _cost: CostReport) -> Changes:
    """Let each dense k x k behind a reduction read what the reduction reads; not in bottlenecks."""
    changes = Changes()
    kept = {node.name for chain in bottlenecks(wiring, _BOTH) for node in (chain.first, chain.last)}
    for node in pointwise(wiring):
        reader = _dense_reader(wiring, node)
        reduces = node.weight.shape[0] < node.weight.shape[1] and node.stride == (1, 1)
        if reader is None or not reduces or node.name in kept:
            continue
        n, _, *size = wiring.graph[reader.inputs[0]].shape
        changes.drop(wiring, inside(wiring, node, reader))
        changes.layers[reader.name] = (
            dense(
                reader,
                input_shape=(n, node.weight.shape[1], *size),
                output_shape=reader.shape,
                kernel_size=reader.kernel_size,
            ),
        )
        changes.replaced += 1
    return changes


def _dense_reader(wiring: Wiring, node: Convolution) -> Convolution | None:
    """Return the dense k x k that alone reads what a 1x1 gives, if that is so."""
    for reader in wiring.followers(node):
        if is_spatial(reader) and reader.groups == 1 and only_feeds(wiring, node, reader):
            return reader
    return None


def dense_for_separable(wiring: Wiring, _cost: CostReport) -> Changes:
    """Replace each depthwise convolution and the 1x1 that alone reads it by one dense k x k."""
    changes = Changes()
    for node in pointwise(wiring):
        source = wiring.source(node)
        if not is_spatial(source) or not source.is_depthwise:
            continue
        if only_feeds(wiring, source, node):
            changes.drop(wiring, inside(wiring, source, node))
            changes.layers[node.name] = (
                dense(
                    node,
                    input_shape=wiring.graph[source.inputs[0]].shape,
                    output_shape=node.shape,
                    kernel_size=source.kernel_size,
                ),
            )
            changes.replaced += 1
    return changes


def larger_kernels(wiring: Wiring, cost: CostReport) -> Changes:
    """Replace each 1x1 by a 3x3, padded so that sizes stay."""
    changes = Changes()
    costs = {layer.name: layer for layer in cost.layers}
    for node in pointwise(wiring):
        layer = costs[node.name]
        if layer.input_shape[2:] != (1, 1):
            more = replace(
                layer,
                kind=LayerKind.SPATIAL,
                macs=9 * layer.macs,
                params=layer.params + 8 * node.weight.numel(),
                kernel_size=(3, 3),
            )
            changes.layers[node.name] = (more,)
            changes.replaced += 1
    return changes
