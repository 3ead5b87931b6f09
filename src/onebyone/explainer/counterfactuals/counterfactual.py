"""What a network would cost if its 1x1 convolutions were not there, or were something else.

The answer depends on what comes in their place, so each has a name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from onebyone.explainer.cost import CostReport, LayerCost
from onebyone.explainer.counterfactuals.basic_blocks import as_basic_blocks
from onebyone.explainer.counterfactuals.changes import Changes, weight_key
from onebyone.explainer.counterfactuals.replacements import (
    at_the_outer_width,
    dense_for_separable,
    larger_kernels,
    twice_at_the_outer_width,
    without_reductions,
)
from onebyone.explainer.structure.wiring import Wiring
from onebyone.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """A network that does without its 1x1s in one particular way.

    Attributes:
        name: Short, such as "one k x k at the outer width".
        meaning: What has been replaced by what, in a sentence.
        layers: All layers of that network, those that stay included.
        params: Learnable numbers, batch norms included.
        replaced: How many blocks, or layers, are replaced.
    """

    name: str
    meaning: str
    layers: tuple[LayerCost, ...]
    params: int
    replaced: int

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole network."""
        return sum(layer.macs for layer in self.layers)


def find_counterfactuals(graph: Graph, cost: CostReport) -> tuple[Counterfactual, ...]:
    """Return what a network would cost without its 1x1s, in each way that makes sense for it.

    Blocks are found in the graph; what has none of a kind has no counterfactual of that kind. A new
    layer has a bias if the last one that it replaces has one, and norms as the block had.

    Args:
        graph: As it was captured.
        cost: Of that graph; layers are known by their names.
    """
    wiring = Wiring(graph)
    found: list[Counterfactual] = []
    for way in _WAYS:
        changes = way.change(wiring, cost)
        if changes is not None and changes.replaced:
            found.append(_changed(graph, cost, way, changes))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Way:
    """Name a way to do without 1x1s; None comes out where the network can't be changed so."""

    name: str
    meaning: str
    change: Callable[[Wiring, CostReport], Changes | None]


_WAYS = (
    _Way(
        "one k x k at the outer width",
        "Each bottleneck (1x1, k x k, 1x1), inverted ones too, becomes one dense k x k, from as "
        "many channels as the block reads to as many as it gives; shortcut projections stay.",
        at_the_outer_width,
    ),
    _Way(
        "two k x k at the outer width",
        "Each bottleneck (1x1, k x k, 1x1), inverted ones too, becomes two dense k x k that give "
        "as many channels as the block; shortcut projections stay.",
        twice_at_the_outer_width,
    ),
    _Way(
        "as many basic blocks",
        "Each bottleneck becomes a basic block, two dense k x k at the bottleneck's inner width, "
        "to which the residual stream and the classifier's input are narrowed: ResNet-34 for "
        "ResNet-50. Shortcuts project only where widths or sizes still differ.",
        as_basic_blocks,
    ),
    _Way(
        "no reductions",
        "Each 1x1 that reduces before a dense k x k, outside bottlenecks, is left out, and the "
        "k x k reads all channels that the 1x1 read.",
        without_reductions,
    ),
    _Way(
        "dense for depthwise separable",
        "Each depthwise k x k becomes, with the 1x1 that mixes its channels, one dense k x k of "
        "the same widths; 1x1s that expand before it stay.",
        dense_for_separable,
    ),
    _Way(
        "3x3 for each 1x1",
        "Each 1x1, shortcut projections included, becomes a 3x3 of the same widths and stride; "
        "1x1s that read a single pixel stay.",
        larger_kernels,
    ),
)


def _changed(graph: Graph, cost: CostReport, way: _Way, changes: Changes) -> Counterfactual:
    params = cost.params + changes.params
    layers: list[LayerCost] = []
    counted: set[int | str] = set()
    for layer in cost.layers:
        new = changes.layers.get(layer.name, (layer,))
        layers += new
        key = weight_key(graph[layer.name])
        if key not in counted:  # a layer that runs twice has its numbers once
            counted.add(key)
            params += sum(one.params for one in new) - layer.params
    return Counterfactual(
        name=way.name,
        meaning=way.meaning,
        layers=tuple(layers),
        params=params,
        replaced=changes.replaced,
    )
