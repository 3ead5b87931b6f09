"""What the compiler did with each layer, in words."""

from collections.abc import Sequence

from onebyone.compiler.build import Built
from onebyone.graph import Graph, Node, Opaque


def explain(graph: Graph, builts: Sequence[Built]) -> str:
    """Return a line for each layer that was captured: done on its own, fused, free, or left to PyTorch."""
    done = {layer.name: layer for built in builts for layer in built.layers}
    free = {name: why for built in builts for name, why in built.views}
    lines = [f"{len(graph)} layers captured, {len(done)} operations of native code"]
    for node in graph:
        lines.append(f"  {node.name:<44} {_fate(graph, node, done, free)}"[:100])
    return "\n".join(lines)


def _fate(graph: Graph, node: Node, done: dict, free: dict) -> str:
    if isinstance(node, Opaque):
        return f"runs in PyTorch: {node.target} has no native code"
    if node.name in free:
        return f"free: {free[node.name]}"
    if node.name in done:
        layer = done[node.name]
        return f"{layer.kind} {layer.note}".strip() 
    return "fused into its neighbour"
