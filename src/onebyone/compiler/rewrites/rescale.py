"""How a linear convolution takes in a scale and a shift of its output."""

from dataclasses import replace

import torch
from torch import Tensor

from onebyone.compiler.rewrites.everywhere import Uses
from onebyone.graph.graph import Convolution, Node

_BLOCK = 2**18
"""Weights scaled at a time: 2 MB of float64 stay in the cache; all at once is 10 times slower."""


INFINITE = "a combined weight would be infinite"


def find_linear(uses: Uses, name: str, reader: Node) -> Convolution | str:
    """Return the convolution of that name, if only one reader has its value, and as it was summed.

    That is without a residual and an activation. Otherwise return why not, in words.
    """
    node = uses.graph[name]
    if not isinstance(node, Convolution):
        return f"{node.place} is no convolution"
    if node.activation is not None:
        return f"{node.place} is activated first"
    if len(node.inputs) > 1:
        return f"{node.place} adds a residual already"
    return uses.why_shared(name, reader) or node


@torch.no_grad()
def with_scaled_weight(conv: Convolution, scale: Tensor, bias: Tensor) -> Convolution | None:
    """Return the convolution with a scaled weight and another bias; None if a number is infinite.

    An infinite weight would give NaN (infinity - infinity, 0 * infinity) where the two steps that
    it stands for give infinity. Products are formed in float64 and rounded once.

    Shape: `scale (N_out, 1 or C / groups, 1, 1)` and `bias (N_out,)`, both float64.
    """
    weight = torch.empty_like(conv.weight, dtype=torch.float32)
    rows = max(1, _BLOCK // conv.weight[0].numel())
    parts = (tensor.split(rows) for tensor in (conv.weight, scale, weight))
    for old, factor, new in zip(*parts, strict=True):
        torch.mul(old, factor, out=new)
    bias = bias.float()
    if not _is_finite(weight) or not _is_finite(bias):
        return None
    return replace(conv, weight=weight, bias=bias)


def rescaled(conv: Convolution, scale: Tensor, shift: Tensor) -> Convolution | None:
    """Return the convolution whose value is `conv * scale + shift`; None if a number is infinite.

    Shape: `scale` and `shift` are float64 `(N_out,)`.
    """
    bias = shift if conv.bias is None else conv.bias.detach() * scale + shift
    return with_scaled_weight(conv, scale[:, None, None, None], bias)


def _is_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    return bool(torch.stack(tensor.aminmax()).isfinite().all())
