"""Fuse additions of a residual into the convolution that computes the other side."""

from collections.abc import Mapping
from dataclasses import replace

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.compiler.rewrites.rescale import find_linear
from onebyone.graph.graph import Arithmetic, Change, Graph, Node


def fuse_residual(graph: Graph) -> Graph:
    """Add a residual to a convolution's numbers while they are still in registers.

    Rewrite:  act(conv(x) + r)  or  act(r + conv(x))  -->  conv(x, residual=r, activation=act)
    Cost:     the same arithmetic; one pass over the numbers less

    The convolution has no other reader, no activation and no residual yet, and the residual has its
    shape: nothing is repeated. Of two convolutions the one that is computed later takes the other's
    value. It moves to where the addition was, as the residual may be computed after its old place.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, add: Node) -> Mapping[str, Change]:
    if not isinstance(add, Arithmetic) or add.operator != "add":
        return {}
    if any(uses.graph[name].shape != add.shape for name in add.inputs):
        return {}
    for name in sorted(add.inputs, key=uses.position.__getitem__, reverse=True):
        conv = find_linear(uses, name)
        if conv:
            residual = add.inputs[1 - add.inputs.index(name)]
            fused = replace(conv, inputs=(*conv.inputs, residual), activation=add.activation)
            return {conv.name: None, add.name: fused}
    return {}
