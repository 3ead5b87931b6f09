"""How convolutions run: depthwise ones by their own kernel, others as tiles of a product."""

import torch

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.buffers import Buffer, Place, Region
from onebyone.compiler.plan.lowering import Lowering, parts_of_rows, strides
from onebyone.compiler.plan.memory import LINE_FLOATS
from onebyone.compiler.plan.placement import ALIASING_FLOATS
from onebyone.compiler.plan.tiles import (
    choose_chunks,
    choose_tiling,
    choose_unroll,
    cut_evenly,
)
from onebyone.compiler.plan.weights import pack_bias, pack_convolution
from onebyone.compiler.plan.winograd import Winograd
from onebyone.graph import Convolution

LARGEST_DEPTHWISE_TILE = 8
"""Outputs of a row at once: with a row of weights and an input they fit 16 registers."""

JOINED_PIXELS = 64
"""Images with fewer pixels are tiled together."""

DEPTHWISE_WEIGHT = 8
"""How much longer a depthwise multiply-add takes than one of a matrix product, about."""

TRANSFORM_WEIGHT = 8
"""How much longer it takes to transform an input than to multiply and add, about."""


def lower_convolution(lowering: Lowering, node: Convolution) -> None:
    """Add the operation that computes a convolution."""
    if (
        node.is_depthwise
        and node.stride[0] == node.stride[1]
        and node.dilation[0] == node.dilation[1]
    ):
        _lower_depthwise(lowering, node)
    elif node.name in lowering.winograds:
        lower_winograd(lowering, node, lowering.winograds[node.name])
    else:
        _lower_dense(lowering, node)


def count_macs(node: Convolution) -> int:
    """Return the multiply-adds of a convolution, for all images; padding counts."""
    n, c, h, w = node.shape
    return n * c * h * w * node.weight[0].numel()


def _source_of(lowering: Lowering, node: Convolution) -> Place:
    """Return where the first output reads the kernel's first number."""
    top, _, left, _ = node.padding
    return lowering.region(node.inputs[0]).place(-top, -left)


def _residual_of(lowering: Lowering, node: Convolution) -> Region | None:
    return lowering.region(node.inputs[1]) if len(node.inputs) > 1 else None


# Depthwise


def _lower_depthwise(lowering: Lowering, node: Convolution) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    residual = _residual_of(lowering, node)
    images, channels, rows, columns = node.shape
    lanes = lowering.target.lanes
    pixels, larger, tiles = cut_evenly(columns, LARGEST_DEPTHWISE_TILE)
    vectors = -(-channels // lanes)
    wanted = choose_chunks(count_macs(node) * DEPTHWISE_WEIGHT, images * rows * vectors)
    channel_parts = (
        choose_chunks(count_macs(node) * DEPTHWISE_WEIGHT, vectors) if rows < 2 * wanted else 1
    )
    row_parts = min(images * rows, max(1, wanted // channel_parts))
    kernel = ops.DepthwiseKernel(
        kernel_size=node.kernel_size,
        stride=node.stride[0],
        dilation=node.dilation[0],
        pixels=pixels,
        has_smaller_tiles=larger < tiles,
        has_tail=channels % lanes != 0,
        has_residual=residual is not None,
        activation=node.activation,
    )
    bias = torch.zeros(channels, dtype=torch.float32) if node.bias is None else node.bias.detach()
    add = lowering.constants.add
    other = residual or target
    work = ops.DepthwiseWork(
        source=_source_of(lowering, node),
        weights=add(node.weight.detach().view(channels, -1).t()),
        bias=add(bias),
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
    lowering.emit(
        node,
        kernel,
        work,
        chunks=row_parts * channel_parts,
        target=target,
        macs=count_macs(node),
        note=f"depthwise, {pixels} pixels",
    )


# Dense and grouped


def _lower_dense(lowering: Lowering, node: Convolution) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    residual = _residual_of(lowering, node)
    lanes = lowering.target.lanes
    images, channels, rows, columns = node.shape
    # Small images are tiled together, so that a batch of vectors is one matrix.
    joined = images if rows * columns < JOINED_PIXELS else 1
    batches, pixels = images // joined, joined * rows * columns
    per_group = channels // node.groups
    taps, depth = _taps_and_depth(node, source)
    tiling = choose_tiling(lowering.target, pixels, per_group, len(taps) * depth)
    blocks = node.groups * tiling.blocks
    pixel_parts, block_parts, blocks_inside = _choose_loops(
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
        source=_source_of(lowering, node),
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


def _choose_loops(
    lowering: Lowering, tiles: int, blocks: int, *, macs: int, weights: int
) -> tuple[int, int, bool]:
    """Return parts of pixels, parts of channel blocks, and whether blocks are the inner loop.

    If all weights stay in the private cache, pixels go outside and are read once. Else each block's
    weights are read once, for all pixels.
    """
    wanted = choose_chunks(macs, tiles * blocks)
    if 4 * weights <= lowering.target.level2_bytes * 2 // 5:
        pixel_parts = min(tiles, wanted)
        return pixel_parts, min(blocks, -(-wanted // pixel_parts)), True
    block_parts = min(blocks, wanted)
    return min(tiles, -(-wanted // block_parts)), block_parts, False


# Winograd


def lower_winograd(lowering: Lowering, node: Convolution, way: Winograd) -> None:
    """Add the operations that transform inputs, multiply them, and transform the sums back."""
    images, channels, rows, columns = node.shape
    depth, lanes = node.weight.shape[1], lowering.target.lanes
    down, across = way.patches(rows, columns)
    patches = images * down * across
    tiling = choose_tiling(lowering.target, patches, channels, depth)
    transformed = _transformed_buffer(node, way, patches)
    block = tiling.vectors * lanes
    weight = way.transform_weight(node.weight.detach()).view(-1, depth, 1, 1)
    pixel_parts, block_parts, blocks_inside = _choose_loops(
        lowering,
        tiling.tiles,
        tiling.blocks,
        macs=way.multiplications * patches * depth * channels,
        weights=weight.numel(),
    )
    scratch = Buffer(
        name=f"{node.name} sums",
        shape=(pixel_parts * block_parts, block, way.multiplications, tiling.pixels),
    )
    target, residual = lowering.region(node.name), _residual_of(lowering, node)
    other = residual or target
    add, table = lowering.constants.add, lowering.constants.table
    local = torch.arange(tiling.pixels)
    bias = torch.zeros(channels) if node.bias is None else node.bias.detach()
    kernel = ops.ProductKernel(
        way=way,
        pixels=tiling.pixels,
        has_smaller_tiles=tiling.larger_tiles < tiling.tiles,
        vectors=tiling.vectors,
        last_vectors=tiling.last_vectors,
        unroll=choose_unroll(depth),
        ragged=(rows % way.rows.outputs != 0, columns % way.columns.outputs != 0),
        has_tail=channels % lanes != 0,
        has_residual=residual is not None,
        activation=node.activation,
    )
    work = ops.ProductWork(
        source=Place(transformed.name, transformed.base),
        weights=add(pack_convolution(weight, way.multiplications, tiling, lanes)),
        zeros=lowering.constants.shared(torch.zeros(block)),
        scratch=Place(scratch.name, scratch.base),
        bias=add(bias),
        target=target.place(),
        residual=other.place(),
        tap_table=table(torch.zeros(1)),
        source_table=table(local * transformed.pixel_stride),
        scratch_table=table(local * block),
        source_pixel=transformed.pixel_stride,
        source_product=transformed.image_stride,
        scratch_chunk=scratch.image_stride,
        scratch_product=scratch.row_stride,
        panel=depth * block,
        depth=depth,
        **strides(target, "target"),
        **strides(other, "residual"),
        channels=channels,
        columns=columns,
        rows=rows,
        patches_down=down,
        patches_across=across,
        blocks=tiling.blocks,
        tiles=tiling.tiles,
        larger_tiles=tiling.larger_tiles,
        pixel_parts=pixel_parts,
        block_parts=block_parts,
        blocks_inside=int(blocks_inside),
    )
    lowering.emit(
        node,
        kernel,
        work,
        chunks=pixel_parts * block_parts,
        target=target,
        sources=node.inputs[1:],
        stages=(_transform_inputs(lowering, node, way, transformed),),
        scratch=(transformed, scratch),
        macs=count_macs(node),
        note=f"Winograd {way}, tile {tiling.pixels}x{block}",
    )


def _transformed_buffer(node: Convolution, way: Winograd, patches: int) -> Buffer:
    """Return a buffer with an image for each multiplication, whose pixels are patches."""
    depth = node.weight.shape[1]
    pixel = depth + LINE_FLOATS if depth % ALIASING_FLOATS == 0 else depth
    # A patch's numbers are written to all images at once, and should not all meet in one place of
    # the cache.
    columns = patches if patches * pixel % ALIASING_FLOATS else patches + 1
    return Buffer(
        name=f"{node.name} transformed",
        shape=(way.multiplications, depth, 1, columns),
        pixel_stride=pixel,
    )


def _transform_inputs(
    lowering: Lowering, node: Convolution, way: Winograd, transformed: Buffer
) -> int:
    """Add the operation that transforms inputs; return its number."""
    source = lowering.region(node.inputs[0])
    images, depth = node.shape[0], node.weight.shape[1]
    down, across = way.patches(*node.shape[2:])
    steps = images * depth * down * across * way.multiplications * TRANSFORM_WEIGHT
    row_parts, channel_parts = parts_of_rows(
        (images, depth, down, across), lowering.target.lanes, steps
    )
    line, step = source.buffer.row_stride, source.buffer.pixel_stride
    work = ops.TransformWork(
        source=_source_of(lowering, node),
        target=Place(transformed.name, transformed.base),
        source_image=source.buffer.image_stride,
        source_row=line * way.rows.outputs,
        source_pixel=step * way.columns.outputs,
        source_line=line,
        source_step=step,
        target_image=transformed.pixel_stride * across * down,
        target_row=transformed.pixel_stride * across,
        target_pixel=transformed.pixel_stride,
        target_product=transformed.image_stride,
        channels=depth,
        columns=across,
        rows=down,
        images=images,
        row_parts=row_parts,
        channel_parts=channel_parts,
    )
    operation = ops.Operation(
        name=f"{node.name}.transform",
        path=node.path,
        kernel=ops.TransformKernel(way=way, has_tail=depth % lowering.target.lanes != 0),
        work=work,
        chunks=row_parts * channel_parts,
        reads=(source.buffer.name,),
        writes=transformed.name,
        note=f"inputs for {way}",
    )
    return lowering.add(operation, tuple(lowering.writers[node.inputs[0]]))
