"""How nodes that look at all channels of a pixel run."""

from math import prod

import torch

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.buffers import Place
from onebyone.compiler.plan.lowering import Lowering, grid, has_tail, strides
from onebyone.compiler.plan.tiles import choose_chunks
from onebyone.graph import LayerNorm, Node, Softmax


def lower_softmax(lowering: Lowering, node: Softmax) -> None:
    """Add the operation that computes probabilities."""
    unused = lowering.constants.shared(torch.zeros(1))
    _emit(lowering, node, "softmax", scale=unused, shift=unused, eps=unused)


def lower_layer_norm(lowering: Lowering, node: LayerNorm) -> None:
    """Add the operation that normalizes, scales and shifts."""
    channels = node.shape[1]
    shared = lowering.constants.shared
    scale = shared(torch.ones(channels) if node.weight is None else node.weight)
    shift = shared(torch.zeros(channels) if node.bias is None else node.bias)
    eps = shared(torch.tensor([node.eps]))
    _emit(lowering, node, "layer_norm", scale=scale, shift=shift, eps=eps)


def _emit(
    lowering: Lowering, node: Node, operator: str, *, scale: Place, shift: Place, eps: Place
) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    images, channels, rows, _ = target.shape
    parts = choose_chunks(prod(target.shape) * 4, images * rows)
    # Who sums over channels needs them all.
    loops = grid(lowering, target, 0.0) | {"row_parts": parts, "channel_parts": 1}
    work = ops.NormalizeWork(
        source=source.place(),
        target=target.place(),
        scale=scale,
        shift=shift,
        eps=eps,
        **strides(source, "source"),
        **strides(target, "target"),
        **loops,
    )
    kernel = ops.NormalizeKernel(operator=operator, has_tail=has_tail(lowering, channels))
    lowering.emit(node, kernel, work, chunks=work.chunks, target=target)
