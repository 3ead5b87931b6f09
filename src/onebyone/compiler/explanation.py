"""What the compiler did with each layer, and why not more, in words."""

from collections.abc import Mapping, Sequence

from onebyone.compiler.build import Built, Layer
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Constant,
    Convolution,
    Graph,
    Node,
    Opaque,
)

NAME_WIDTH = 44
LINE_WIDTH = 100


def explain(graph: Graph, builts: Sequence[Built]) -> str:
    """Return a line for each captured layer: done on its own, fused, free, or left to PyTorch."""
    layers = {layer.name: layer for built in builts for layer in built.layers}
    free = {name: why for built in builts for name, why in built.views}
    readers = graph.readers()
    fates = {node.name: _fate(graph, node, layers, free, readers) for node in graph}
    left = sum(isinstance(node, Opaque) for node in graph)
    fused = sum(fate.startswith("fused") for fate in fates.values())
    lines = [
        f"{len(graph)} layers: {len(layers)} operations of native code, {fused} layers fused into "
        f"them, {left} operators in PyTorch"
    ]
    for node in graph:
        name = node.path or node.name
        shown = name if len(name) <= NAME_WIDTH else f"…{name[1 - NAME_WIDTH :]}"
        lines.append(f"{node.kind:<12} {shown:<{NAME_WIDTH}} {fates[node.name]}"[:LINE_WIDTH])
    return "\n".join(lines)


def _fate(
    graph: Graph,
    node: Node,
    layers: Mapping[str, Layer],
    free: Mapping[str, str],
    readers: Mapping[str, Sequence[str]],
) -> str:
    if isinstance(node, Opaque):
        return f"in PyTorch: no native code for {node.target}"
    if node.name in free:
        return f"free: {free[node.name]}"
    band = next((layer for layer in layers.values() if node.name in layer.stages[:-1]), None)
    if band is not None:
        return f"fused by rows into {band.path or band.name}"
    if node.name in layers:
        layer = layers[node.name]
        why = _why_alone(graph, node, readers)
        done = f"{layer.kind}: {layer.note}" if layer.note else layer.kind
        return f"{done}; not fused, {why}" if why else done
    return "constant" if isinstance(node, Constant) else "fused into a neighbour"


def _why_alone(graph: Graph, node: Node, readers: Mapping[str, Sequence[str]]) -> str:
    """Return why a layer that could be part of a convolution is not."""
    if not isinstance(node, (Activation, Arithmetic, BatchNorm)):
        return ""
    sources = [graph[name] for name in node.inputs]
    convolutions = [source for source in sources if isinstance(source, Convolution)]
    if not convolutions:
        return "no convolution before it"
    if all(
        len(readers[source.name]) > 1 or graph.is_output(source.name) for source in convolutions
    ):
        return "its convolution's result is also needed without it"
    return ""
