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
    before = uses.graph[node.inputs[0]]
    if not isinstance(before, Convolution | BatchNorm | Arithmetic):
        return {}
    if before.activation or not uses.is_read_once(before.name):
        return {}
    return {before.name: None, node.name: replace(before, activation=node.function)}
