"""How depthwise convolutions run: every channel with its own small kernel."""

import torch

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.lowering import Lowering
from onebyone.compiler.plan.operands import Operands, operands_of
from onebyone.compiler.plan.tiles import choose_chunks, cut_evenly
from onebyone.graph import Convolution

LARGEST_DEPTHWISE_TILE = 8
"""Outputs of a row at once: with a row of weights and an input they fit 16 registers."""

DEPTHWISE_WEIGHT = 8
"""How much longer a depthwise multiply-add takes than one of a matrix product, about."""


def lower_depthwise(lowering: Lowering, node: Convolution) -> None:
    """Add the operation that computes a depthwise convolution."""
    images, channels, rows, _ = node.shape
    vectors = -(-channels // lowering.target.lanes)
    wanted = choose_chunks(node.macs * DEPTHWISE_WEIGHT, images * rows * vectors)
    channel_parts = choose_chunks(node.macs * DEPTHWISE_WEIGHT, vectors) if rows < 2 * wanted else 1
    row_parts = min(images * rows, max(1, wanted // channel_parts))
    operands = operands_of(lowering, node)
    kernel, work = _plan(lowering, node, operands, images, (row_parts, channel_parts))
    lowering.emit(
        node,
        kernel,
        work,
        chunks=work.chunks,
        target=operands.target,
        macs=node.macs,
        note=_shown(lowering, kernel),
    )


def plan_depthwise_rows(
    lowering: Lowering, node: Convolution, operands: Operands
) -> tuple[ops.DepthwiseKernel, ops.DepthwiseWork, str]:
    """Return what computes one image, a row for each chunk, and a note on how."""
    kernel, work = _plan(lowering, node, operands, 1, (node.shape[2], 1))
    return kernel, work, _shown(lowering, kernel)


def _shown(lowering: Lowering, kernel: ops.DepthwiseKernel) -> str:
    return f"tile {kernel.pixels}x{lowering.target.lanes}"


def _plan(
    lowering: Lowering, node: Convolution, operands: Operands, images: int, parts: tuple[int, int]
) -> tuple[ops.DepthwiseKernel, ops.DepthwiseWork]:
    source, target, other = operands.source, operands.target, operands.other
    _, channels, rows, columns = node.shape
    pixels, larger, tiles = cut_evenly(columns, LARGEST_DEPTHWISE_TILE)
    row_parts, channel_parts = parts
    kernel = ops.DepthwiseKernel(
        kernel_size=node.kernel_size,
        stride=node.stride[0],
        dilation=node.dilation[0],
        pixels=pixels,
        has_smaller_tiles=larger < tiles,
        has_tail=channels % lowering.target.lanes != 0,
        has_residual=operands.residual is not None,
        activation=node.activation,
    )
    bias = torch.zeros(channels, dtype=torch.float32) if node.bias is None else node.bias.detach()
    add = lowering.constants.add
    work = ops.DepthwiseWork(
        source=operands.first_source(node),
        weights=add(node.weight.numel(), lambda: node.weight.view(channels, -1).t()),
        bias=add(channels, lambda: bias),
        target=target.place(),
        residual=other.place(),
        source_pixel=source.buffer.pixel_stride,
        source_row=source.buffer.row_stride,
        source_step=source.buffer.row_stride * node.dilation[0],
        source_image=source.buffer.image_stride,
        target_pixel=target.buffer.pixel_stride,
        target_row=target.buffer.row_stride,
        target_image=target.buffer.image_stride,
        residual_pixel=other.buffer.pixel_stride,
        residual_row=other.buffer.row_stride,
        residual_image=other.buffer.image_stride,
        channels=channels,
        rows=rows,
        images=images,
        tiles=tiles,
        larger_tiles=larger,
        row_parts=row_parts,
        channel_parts=channel_parts,
    )
    return kernel, work
