"""Fold arithmetic with constants into the convolutions before it."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.compiler.rewrites.rescale import INFINITE, find_linear, rescaled
from onebyone.graph.graph import Arithmetic, Change, Constant, Convolution, Graph, Node


def fold_scale(graph: Graph) -> Graph:
    """Let a convolution's weights and bias do the work of arithmetic with one number a channel.

    Rewrite:  conv(x) * c  or  c * conv(x)  -->  conv'(x), with weight c W and bias c b
              conv(x) / c                   -->  conv'(x), with weight W / c and bias b / c
              conv(x) + c  or  c + conv(x)  -->  conv'(x), with bias b + c
              conv(x) - c                   -->  conv'(x), with bias b - c
              c - conv(x)                   -->  conv'(x), with weight -W and bias c - b
    Cost:     one operation less for each output number, and one pass over them

    The constant is one number, or one for each channel: the 0.17 of an Inception-ResNet's
    residuals, the layer scale of a ConvNeXt. The convolution has no other reader, no activation, no
    residual. A factor of 0 makes weights of 0, which still give NaN for NaN and infinity. Constants
    that nobody reads any more are left to `drop_unused`.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, node: Node) -> Mapping[str, Change]:
    if not isinstance(node, Arithmetic):
        return {}
    folded = _folded(uses, node)
    return {} if isinstance(folded, str) else {folded.name: None, node.name: folded}


def why_not_folded(uses: Uses, node: Arithmetic) -> str:
    """Return why arithmetic with a constant stays on its own, in words; or ""."""
    folded = _folded(uses, node)
    return f"not folded: {folded}" if isinstance(folded, str) else ""


def _folded(uses: Uses, node: Arithmetic) -> Convolution | str:
    """Return the convolution that does the arithmetic as well; or why none can."""
    for is_left, (name, other) in ((True, node.inputs), (False, node.inputs[::-1])):
        constant = uses.graph[other]
        if not isinstance(constant, Constant):
            continue
        conv = find_linear(uses, name, node)
        if isinstance(conv, str):
            return conv
        if conv.shape != node.shape:
            return f"it repeats {conv.place}"
        step = _scale_and_shift(node.operator, constant.value, conv.shape[1], is_left)
        if step is None:
            return "it is no scale or shift of channels"
        folded = rescaled(conv, *step)
        return replace(folded, activation=node.activation) if folded else INFINITE
    return "neither side is a constant"


@torch.no_grad()
def _scale_and_shift(
    operator: str, constant: Tensor, channels: int, is_left: bool
) -> tuple[Tensor, Tensor] | None:
    """Say what `x operator constant` does to each channel of x, or None if that is not linear.

    Args:
        operator: Of the arithmetic.
        constant: The other side.
        channels: Of x.
        is_left: Whether x stands on the left.
    """
    if constant.shape[0] != 1 or constant.shape[2:] != (1, 1):
        return None
    c = constant.double().flatten().expand(channels)
    one, zero = torch.ones_like(c), torch.zeros_like(c)
    match operator, is_left:
        case "add", _:
            return one, c
        case "sub", True:
            return one, -c
        case "sub", False:
            return -one, c
        case "mul", _:
            return c, zero
        case "div", True:
            return 1 / c, zero
        case _:
            return None
