"""Fold batch norms into the convolutions next to them."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.compiler.rewrites.rescale import find_linear, rescaled, with_scaled_weight
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
        return _into_convolution_before(uses, node)
    if isinstance(node, Convolution):
        return _into_convolution_behind(uses, node)
    return {}


def _into_convolution_before(uses: Uses, norm: BatchNorm) -> Mapping[str, Change]:
    conv = find_linear(uses, norm.inputs[0])
    folded = rescaled(conv, *norm.scale_and_shift()) if conv else None
    if conv is None or folded is None:
        return {}
    return {conv.name: None, norm.name: replace(folded, activation=norm.activation)}


@torch.no_grad()
def _into_convolution_behind(uses: Uses, conv: Convolution) -> Mapping[str, Change]:
    norm = uses.graph[conv.inputs[0]]
    if not isinstance(norm, BatchNorm) or not uses.is_read_once(norm.name):
        return {}
    if norm.activation or any(conv.padding):
        return {}
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
        return {}
    return {norm.name: None, conv.name: replace(folded, inputs=(norm.inputs[0], *conv.inputs[1:]))}
