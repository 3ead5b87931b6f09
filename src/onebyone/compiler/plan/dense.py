"""How dense and grouped convolutions run: as tiles of a matrix product."""

import torch

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.buffers import Region
from onebyone.compiler.plan.lowering import Lowering
from onebyone.compiler.plan.operands import choose_loops, count_macs, residual_of, source_of
from onebyone.compiler.plan.tiles import choose_tiling, choose_unroll
from onebyone.compiler.plan.weights import pack_bias, pack_convolution
from onebyone.graph import Convolution

JOINED_PIXELS = 64
"""Images with fewer pixels are tiled together."""


def lower_dense(lowering: Lowering, node: Convolution) -> None:
    """Add the operation that sums over the kernel's positions and the input channels."""
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    residual = residual_of(lowering, node)
    lanes = lowering.target.lanes
    images, channels, rows, columns = node.shape
    # Small images are tiled together, so that a batch of vectors is one matrix.
    joined = images if rows * columns < JOINED_PIXELS else 1
    batches, pixels = images // joined, joined * rows * columns
    per_group = channels // node.groups
    taps, depth = _taps_and_depth(node, source)
    tiling = choose_tiling(lowering.target, pixels, per_group, len(taps) * depth)
    blocks = node.groups * tiling.blocks
    pixel_parts, block_parts, blocks_inside = choose_loops(
        lowering, batches * tiling.tiles, blocks, macs=count_macs(node), weights=node.weight.numel()
    )
    kernel = ops.ConvolutionKernel(
        pixels=tiling.pixels,
        has_smaller_tiles=tiling.larger_tiles < tiling.tiles,
        vectors=tiling.vectors,
        last_vectors=tiling.last_vectors,
        tail_lanes=tiling.tail_lanes,
        unroll=choose_unroll(depth),
        has_residual=residual is not None,
        activation=node.activation,
    )
    constants, other = lowering.constants, residual or target
    work = ops.ConvolutionWork(
        source=source_of(lowering, node),
        weights=constants.add(pack_convolution(node.weight.detach(), node.groups, tiling, lanes)),
        bias=constants.add(
            pack_bias(
                None if node.bias is None else node.bias.detach(),
                channels,
                node.groups,
                tiling,
                lanes,
            )
        ),
        target=target.place(),
        residual=other.place(),
        tap_table=constants.table(torch.tensor(taps)),
        source_table=constants.table(_pixel_table(node, source, joined, node.stride)),
        target_table=constants.table(_pixel_table(node, target, joined)),
        residual_table=constants.table(_pixel_table(node, other, joined)),
        source_image=source.buffer.image_stride,
        target_image=target.buffer.image_stride,
        residual_image=other.buffer.image_stride,
        taps=len(taps),
        depth=depth,
        panel=len(taps) * depth * tiling.vectors * lanes,
        bias_step=tiling.vectors * lanes,
        blocks=blocks,
        blocks_per_group=tiling.blocks,
        group_source=node.weight.shape[1],
        group_target=per_group,
        tiles=tiling.tiles,
        larger_tiles=tiling.larger_tiles,
        images=batches,
        pixel_parts=pixel_parts,
        block_parts=block_parts,
        blocks_inside=int(blocks_inside),
    )
    note = f"tile {tiling.pixels}x{tiling.vectors * lanes}, " + (
        "channels inside" if blocks_inside else "pixels inside"
    )
    lowering.emit(
        node,
        kernel,
        work,
        chunks=pixel_parts * block_parts,
        target=target,
        macs=count_macs(node),
        note=note,
    )


def _taps_and_depth(node: Convolution, source: Region) -> tuple[list[int], int]:
    """Return where the kernel's positions lie behind its first, and the numbers read at each.

    A row of the kernel is one position where its numbers lie side by side.
    """
    height, width = node.kernel_size
    pixel, row = source.buffer.pixel_stride, source.buffer.row_stride
    depth = node.weight.shape[1]
    rows = [y * node.dilation[0] * row for y in range(height)]
    if node.groups == 1 and pixel == depth and node.dilation[1] == 1:
        return rows, width * depth
    return [y + x * node.dilation[1] * pixel for y in rows for x in range(width)], depth


def _pixel_table(
    node: Convolution, region: Region, images: int, stride: tuple[int, int] = (1, 1)
) -> torch.Tensor:
    """Return where the numbers of each output pixel start, in floats behind those of the first."""
    _, _, rows, columns = node.shape
    image = torch.arange(images) * region.buffer.image_stride
    y = torch.arange(rows) * stride[0] * region.buffer.row_stride
    x = torch.arange(columns) * stride[1] * region.buffer.pixel_stride
    return (image[:, None, None] + y[:, None] + x).flatten()
