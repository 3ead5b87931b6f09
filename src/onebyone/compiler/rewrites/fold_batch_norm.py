"""Fold batch norms into the convolutions next to them."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.compiler.rewrites.rescale import (
    INFINITE,
    find_linear,
    rescaled,
    with_scaled_weight,
)
from onebyone.graph.graph import BatchNorm, Change, Convolution, Graph, Node


def fold_batch_norm(graph: Graph) -> Graph:
    """Let a convolution's weights and bias do the work of the batch norm behind or before it.

    Rewrite:  norm(conv(x))  -->  conv'(x)
              conv(norm(x))  -->  conv'(x), if the convolution pads nothing: padding is 0 behind the
              norm, which is another number before it
    Cost:     one multiply-add less for each number that the norm gave, and one pass over them

    What stands in between must be read by the other only, and have no residual and no activation.
    Weights are combined in float64 and rounded once.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, node: Node) -> Mapping[str, Change]:
    if isinstance(node, BatchNorm):
        folded = _into_convolution_before(uses, node)
        return {} if isinstance(folded, str) else {folded.name: None, node.name: folded}
    if isinstance(node, Convolution):
        norm = uses.graph[node.inputs[0]]
        folded = _into_convolution_behind(uses, norm, node) if isinstance(norm, BatchNorm) else ""
        return {} if isinstance(folded, str) else {norm.name: None, node.name: folded}
    return {}


def why_not_folded(uses: Uses, norm: BatchNorm) -> str:
    """Return why a batch norm stays on its own, in words; "" if it need not."""
    readers = [uses.graph[name] for name in uses.readers[norm.name]]
    found = [_into_convolution_before(uses, norm)]
    found += [
        _into_convolution_behind(uses, norm, conv)
        for conv in readers
        if isinstance(conv, Convolution) and conv.inputs[0] == norm.name
    ]
    reasons = [one for one in found if isinstance(one, str)]
    if len(reasons) < len(found):
        return ""
    return f"not folded: {', and '.join(dict.fromkeys(reasons))}"


def _into_convolution_before(uses: Uses, norm: BatchNorm) -> Convolution | str:
    """Return the convolution before a norm that does its work; or why it cannot."""
    conv = find_linear(uses, norm.inputs[0], norm)
    if isinstance(conv, str):
        return conv
    folded = rescaled(conv, *norm.scale_and_shift())
    return replace(folded, activation=norm.activation) if folded else INFINITE


@torch.no_grad()
def _into_convolution_behind(uses: Uses, norm: BatchNorm, conv: Convolution) -> Convolution | str:
    """Return the convolution behind a norm that does its work; or why it cannot."""
    if norm.activation:
        return f"its activation comes before {conv.place}"
    if any(conv.padding):
        return f"{conv.place} pads it with zeros"
    shared = uses.why_shared(norm.name, conv)
    if shared:
        return shared
    # Each group of outputs reads its own channels.
    outputs = conv.weight.shape[0] // conv.groups
    shape = (conv.groups, 1, conv.weight.shape[1], 1, 1)
    scale, shift = (
        numbers.reshape(shape).expand(-1, outputs, -1, -1, -1).flatten(0, 1)
        for numbers in norm.scale_and_shift()
    )
    bias = (conv.weight * shift).sum((1, 2, 3))
    folded = with_scaled_weight(conv, scale, bias if conv.bias is None else conv.bias + bias)
    if folded is None:
        return INFINITE
    return replace(folded, inputs=(norm.inputs[0], *conv.inputs[1:]))
