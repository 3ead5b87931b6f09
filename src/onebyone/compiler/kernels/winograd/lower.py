"""How convolutions run after Winograd: inputs are transformed, multiplied, and transformed back."""

from dataclasses import replace

import torch

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.choose.tiling import cut_tiles
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.weights import pack_convolution
from onebyone.compiler.kernels.kernel import Operation
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.kernels.tiles import fetched_floats, tiled
from onebyone.compiler.kernels.winograd.product import ProductKernel, ProductWork
from onebyone.compiler.kernels.winograd.transform import TransformKernel, TransformWork
from onebyone.compiler.memory.arena import aligned
from onebyone.compiler.memory.buffers import Buffer, Place, Strided
from onebyone.compiler.memory.placement import ALIASING_FLOATS, spread
from onebyone.graph import Convolution


def lower_winograd(builder: PlanBuilder, node: Convolution, way: Winograd) -> None:
    """Add the operations that transform inputs, multiply them, and transform the sums back."""
    choices = builder.choices[node.name]
    assert choices.tile is not None, node.name
    images, channels, rows, columns = node.shape
    depth, lanes = node.weight.shape[1], builder.target.lanes
    down, across = way.patches(rows, columns)
    patches = images * down * across
    tiling = cut_tiles(builder.target, patches, channels, choices.tile)
    block = tiling.vectors * lanes
    operands = operands_of(builder, node)
    target, other = operands.target, operands.other
    add, table = builder.constants.add, builder.constants.table
    local = torch.arange(tiling.pixels)
    bias = torch.zeros(channels, dtype=torch.float32) if node.bias is None else node.bias.detach()
    panel, products = depth * block, way.multiplications
    # Of patches that are summed before any is finished.
    together = -(-tiling.tiles // choices.parts[0]) * tiling.pixels
    sums_floats = aligned(products * together * block)
    is_inside = choices.transforms == "inside"
    transformed = _transformed_buffer(node, way, together if is_inside else patches)
    if is_inside:
        transformed = replace(transformed, base=BaseWord.SCRATCH)

    def pack_weight() -> torch.Tensor:
        weight = way.transform_weight(node.weight.detach()).view(-1, depth, 1, 1)
        packed = pack_convolution(weight, products, tiling, lanes)
        return packed.view(products, tiling.blocks, panel).transpose(0, 1)

    kernel = ProductKernel(
        way=way,
        transforms=is_inside,
        **tiled(
            tiling,
            builder.target,
            depth,
            fetchers=max(1, tiling.tiles // choices.parts[0]),
            has_residual=operands.residual is not None,
            activation=node.activation,
        ),
        last_lanes=builder.target.lanes_for(tiling.last_channels),
        ragged=(rows % way.rows.outputs != 0, columns % way.columns.outputs != 0),
        has_tail=channels % lanes != 0,
    )
    note = ", inputs transformed in chunks" if is_inside else ""
    lies = Place(transformed.name, transformed.base, sums_floats if is_inside else 0)
    work = ProductWork(
        source=lies,
        inputs=_inputs(operands, node, way) if is_inside else Strided(lies, 0, 0, 0),
        inputs_line=operands.source.buffer.row_stride,
        inputs_step=operands.source.buffer.pixel_stride,
        weights=add(
            products * tiling.blocks * panel,
            pack_weight,
            *("winograd", way, node.weight, *tiling.channels, lanes),
        ),
        zeros=builder.constants.shared(torch.zeros(block)),
        scratch=Place("sums", BaseWord.SCRATCH),
        bias=add(channels, lambda: bias, "channels", node.bias, channels),
        target=target.strided(),
        residual=other.strided(),
        tap_table=table(torch.zeros(1)),
        source_table=table(local * transformed.pixel_stride),
        scratch_table=table(local * block),
        source_pixel=transformed.pixel_stride,
        source_product=transformed.image_stride,
        scratch_product=together * block,
        panel=panel,
        depth=depth,
        channels=channels,
        columns=columns,
        rows=rows,
        patches_down=down,
        patches_across=across,
        blocks=tiling.blocks,
        tiles=tiling.tiles,
        larger_tiles=tiling.larger_tiles,
        pixel_parts=choices.parts[0],
        block_parts=choices.parts[1],
        shares_pixels=int(choices.shared == "pixels"),
        fetched=fetched_floats(kernel.tile, depth),
    )
    builder.add(
        node,
        kernel,
        work,
        chunks=choices.chunks,
        target=target,
        sources=node.inputs if is_inside else node.inputs[1:],
        after=() if is_inside else (_transform_inputs(builder, node, way, transformed),),
        through=() if is_inside else (transformed,),
        scratch=sums_floats + (transformed.size if is_inside else 0),
        macs=node.macs,
        note=f"Winograd {way}, tile {tiling.pixels}x{block}{note}",
    )


def _transformed_buffer(node: Convolution, way: Winograd, patches: int) -> Buffer:
    """Return a buffer with an image for each multiplication, whose pixels are patches."""
    depth = node.weight.shape[1]
    pixel = spread(depth)
    # A patch's numbers are written to all images at once, and should not all meet in one place of
    # the cache.
    columns = patches if patches * pixel % ALIASING_FLOATS else patches + 1
    return Buffer(
        name=f"{node.name} transformed",
        shape=(way.multiplications, depth, 1, columns),
        pixel_stride=pixel,
    )


def _inputs(operands: Operands, node: Convolution, way: Winograd) -> Strided:
    """Return where the first patch reads its inputs; and from patch to patch, the others."""
    buffer = operands.source.buffer
    return Strided(
        operands.first_source(node).place,
        buffer.image_stride,
        buffer.row_stride * way.rows.outputs,
        buffer.pixel_stride * way.columns.outputs,
    )


def _transform_inputs(
    builder: PlanBuilder, node: Convolution, way: Winograd, transformed: Buffer
) -> int:
    """Add the operation that transforms inputs; return its number."""
    operands = operands_of(builder, node)
    source = operands.source
    images, depth = node.shape[0], node.weight.shape[1]
    down, across = way.patches(*node.shape[2:])
    row_parts, channel_parts = builder.choices[node.name].transform_parts
    line, step = source.buffer.row_stride, source.buffer.pixel_stride
    pixel = transformed.pixel_stride
    work = TransformWork(
        source=_inputs(operands, node, way),
        target=Strided(
            Place(transformed.name, transformed.base), pixel * across * down, pixel * across, pixel
        ),
        source_line=line,
        source_step=step,
        target_product=transformed.image_stride,
        channels=depth,
        columns=across,
        rows=down,
        images=images,
        row_parts=row_parts,
        channel_parts=channel_parts,
    )
    operation = Operation(
        name=f"{node.name} transform",
        path=node.path,
        what="transform",
        kernel=TransformKernel(way=way, has_tail=depth % builder.target.lanes != 0),
        work=work,
        chunks=row_parts * channel_parts,
        reads=(source.buffer.name,),
        writes=transformed.name,
        note=f"inputs for Winograd {way}",
    )
    return builder.append(operation, tuple(builder.writers[node.inputs[0]]))
