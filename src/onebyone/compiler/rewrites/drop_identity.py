"""Drop what does nothing."""

import math
from collections.abc import Mapping

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    Change,
    Concat,
    Constant,
    Function,
    Graph,
    Node,
    Pad,
    Pool,
    Reshape,
    Same,
    Shuffle,
    Slice,
    Upsample,
    Window,
)

_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1}
"""The number that changes nothing on the right of an operator."""

UNCHANGED = "it changes no number"

_IDENTITY = Function("clamp", (-math.inf, math.inf))


def drop_identity(graph: Graph) -> Graph:
    """Let those who read a node that changes no number read that node's input.

    Rewrite:  f(x)  -->  x, for borders without pixels, slices of everything, pools of single
              pixels, concats of one, enlargements (nearest) to the same size, `clamp(-inf, inf)`,
              shuffles of single channels or in a single group, flattened vectors, and x + 0, x - 0,
              x * 1, x / 1
              act(x + 0)  -->  act(x), and the like
    Cost:     one pass over the numbers less

    NaN and infinity come through all of them. What becomes of -0 in x + 0 is not kept.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, node: Node) -> Mapping[str, Change]:
    if isinstance(node, Arithmetic):
        return _without_neutral(uses, node)
    if len(node.inputs) != 1:
        return {}
    before = uses.graph[node.inputs[0]]
    if node.shape != before.shape or not _is_identity(node):
        return {}
    return {node.name: Same(before.name, UNCHANGED)}


def _is_identity(node: Node) -> bool:
    """Whether a node with one input, whose value has its input's shape, gives that input."""
    match node:
        case Pad() | Slice() | Concat() | Reshape():
            return True  # the shape says it all
        case Activation():
            return node.function == _IDENTITY
        case Shuffle():
            return node.groups in (1, node.shape[1])
        case Upsample():
            # Bilinear would do too, but for 0 * infinity.
            return node.mode == "nearest" and node.scale in (None, (1.0, 1.0))
        case Pool():
            return _is_each_alone(node.rows) and _is_each_alone(node.columns)
        case _:
            return False


def _is_each_alone(windows: tuple[Window, ...]) -> bool:
    return windows == tuple(Window(i, i + 1, 1) for i in range(len(windows)))


def _without_neutral(uses: Uses, node: Arithmetic) -> Mapping[str, Change]:
    if node.operator not in _NEUTRAL:
        return {}
    neutral = _NEUTRAL[node.operator]
    left, right = node.inputs
    sides = [(left, right), (right, left)] if node.operator in ("add", "mul") else [(left, right)]
    for kept, other in sides:
        constant = uses.graph[other]
        if (
            isinstance(constant, Constant)
            and bool((constant.value == neutral).all())
            and uses.graph[kept].shape == node.shape
        ):
            return {node.name: _activated(node, kept)}
    return {}


def _activated(node: Arithmetic, kept: str) -> Change:
    """What is left of arithmetic that does nothing: its activation, if it has one."""
    if node.activation is None:
        return Same(kept, UNCHANGED)
    return Activation(
        name=node.name, inputs=(kept,), shape=node.shape, path=node.path, function=node.activation
    )
