"""Fuse activations into what computes their input."""

from collections.abc import Mapping
from dataclasses import replace

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.graph.graph import Activation, Arithmetic, BatchNorm, Change, Convolution, Graph, Node


def fuse_activation(graph: Graph) -> Graph:
    """Apply an activation to numbers while they are still in registers.

    Rewrite:  act(conv(x))  -->  conv(x, activation=act); the same for batch norms and arithmetic
    Cost:     the same arithmetic; one pass over the numbers less

    What computes the numbers must have no other reader, and no activation yet.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, node: Node) -> Mapping[str, Change]:
    if not isinstance(node, Activation):
        return {}
    fused = _fused(uses, node)
    return {} if isinstance(fused, str) else {fused.name: None, node.name: fused}


def why_not_fused(uses: Uses, node: Activation) -> str:
    """Return why an activation stays on its own, in words; "" if it need not."""
    fused = _fused(uses, node)
    return f"not fused: {fused}" if isinstance(fused, str) else ""


def _fused(uses: Uses, node: Activation) -> Node | str:
    """Return what computes the activation's input and applies it; or why nothing can."""
    before = uses.graph[node.inputs[0]]
    if not isinstance(before, Convolution | BatchNorm | Arithmetic):
        return f"{before.place} cannot apply it"
    if before.activation:
        return f"{before.place} is activated already"
    return uses.why_shared(before.name, node) or replace(before, activation=node.function)
