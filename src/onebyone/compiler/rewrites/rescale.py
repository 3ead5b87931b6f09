"""How a linear convolution takes in a scale and a shift of its output."""

from dataclasses import replace

import torch
from torch import Tensor

from onebyone.compiler.rewrites.everywhere import Uses
from onebyone.graph.graph import Convolution


def find_linear(uses: Uses, name: str) -> Convolution | None:
    """Return the convolution of that name, if its value is read only once and as it was summed.

    That is without a residual and an activation.
    """
    node = uses.graph[name]
    if not isinstance(node, Convolution) or not uses.is_read_once(name):
        return None
    return node if node.activation is None and len(node.inputs) == 1 else None


@torch.no_grad()
def with_numbers(conv: Convolution, weight: Tensor, bias: Tensor) -> Convolution | None:
    """Return the convolution with other weights, rounded from float64; None if one is not finite.

    An infinite weight would give NaN (infinity - infinity, 0 * infinity) where the two steps that
    it stands for give infinity.
    """
    weight, bias = weight.float(), bias.float()
    if not weight.isfinite().all() or not bias.isfinite().all():
        return None
    return replace(conv, weight=weight, bias=bias)


@torch.no_grad()
def rescaled(conv: Convolution, scale: Tensor, shift: Tensor) -> Convolution | None:
    """Return the convolution whose value is `conv * scale + shift`, or None if that is not finite.

    Shape: `scale` and `shift` are float64 `(N_out,)`.
    """
    weight = conv.weight.double() * scale[:, None, None, None]
    return with_numbers(conv, weight, shift if conv.bias is None else conv.bias * scale + shift)
