"""Fuse additions of a residual into the convolution that computes the other side."""

from collections.abc import Mapping
from dataclasses import replace

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.compiler.rewrites.rescale import find_linear
from onebyone.graph.graph import Arithmetic, Change, Convolution, Graph, Node


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
    if not isinstance(add, Arithmetic):
        return {}
    fused = _fused(uses, add)
    return {} if isinstance(fused, str) else {fused.name: None, add.name: fused}


def why_not_fused(uses: Uses, add: Arithmetic) -> str:
    """Return why arithmetic with two computed values stays on its own, in words; or ""."""
    fused = _fused(uses, add)
    return f"not fused: {fused}" if isinstance(fused, str) else ""


def _fused(uses: Uses, add: Arithmetic) -> Convolution | str:
    """Return the convolution that adds its other side as a residual; or why none can."""
    if add.operator != "add":
        return "convolutions add, and do nothing else with a second value"
    if any(uses.graph[name].shape != add.shape for name in add.inputs):
        return "its inputs differ in shape"
    reasons: list[str] = []
    for name in sorted(add.inputs, key=uses.position.__getitem__, reverse=True):
        conv = find_linear(uses, name, add)
        if not isinstance(conv, str):
            residual = add.inputs[1 - add.inputs.index(name)]
            return replace(conv, inputs=(*conv.inputs, residual), activation=add.activation)
        reasons.append(conv)
    return ", and ".join(dict.fromkeys(reasons))
