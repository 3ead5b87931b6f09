"""How dense convolutions run on matrix tiles."""

import torch

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.choose.tiling import cut_tiles
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.weights import pack_bias
from onebyone.compiler.kernels.matrix.kernel import STEP_FLOATS, MatrixKernel, MatrixWork
from onebyone.compiler.kernels.matrix.weights import COLUMNS, STEP, pack_matrix, steps_of
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.kernels.places import batches_of, pixel_table, taps_and_depth
from onebyone.compiler.memory.arena import aligned
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.memory.formats import BF16
from onebyone.graph import Convolution


def lower_matrix(builder: PlanBuilder, node: Convolution) -> None:
    """Add the operation that multiplies matrix tiles."""
    operands = operands_of(builder, node)
    kernel, work, note, scratch = plan_matrix(builder, node, operands)
    builder.add(
        node,
        kernel,
        work,
        chunks=work.pixel_parts * work.block_parts,
        target=operands.target,
        scratch=scratch,
        macs=node.macs,
        note=note,
    )


def plan_matrix(
    builder: PlanBuilder, node: Convolution, operands: Operands, scratch: int = 0
) -> tuple[MatrixKernel, MatrixWork, str, int]:
    """Return what computes all images, or a row of one for each chunk of a band.

    Args:
        builder: The plan so far.
        node: What is computed.
        operands: What it reads and writes.
        scratch: Floats of the thread's scratch memory that others have.

    Returns:
        Kernel, its numbers, a note, and the floats of scratch memory up to the end of its own.
    """
    choices = builder.choices[node.name]
    assert choices.tile is not None, node.name
    batches = batches_of(node, choices)
    parts = (batches.count, 1) if batches.are_rows else choices.parts
    source, target, other = operands.source, operands.target, operands.other
    pixels = batches.images * batches.rows * node.shape[3]
    tiling = cut_tiles(builder.target, pixels, node.shape[1], choices.tile)
    taps, depth = taps_and_depth(node, source)
    tap_steps = steps_of(depth)
    steps = len(taps) * tap_steps
    kernel = MatrixKernel(
        pixels=tiling.pixels,
        vectors=tiling.vectors,
        last_vectors=tiling.last_vectors,
        last_lanes=tiling.last_channels,
        has_full_steps=depth >= STEP,
        depth_tail=depth % STEP,
        has_residual=operands.residual is not None,
        activation=node.activation,
    )
    together = -(-batches.count * tiling.tiles // parts[0])
    panel_floats = together * steps * kernel.panel_step
    sums_floats = kernel.heights * kernel.rows * tiling.vectors * COLUMNS
    constants = builder.constants
    weight, bias = node.weight.detach(), None if node.bias is None else node.bias.detach()
    block = tiling.vectors * COLUMNS
    work = MatrixWork(
        source=operands.first_source(node).place,
        weights=constants.add(
            tiling.blocks * steps * tiling.vectors * STEP_FLOATS,
            lambda: pack_matrix(weight, len(taps), tiling),
        ),
        bias=constants.add(
            tiling.blocks * block, lambda: pack_bias(bias, node.shape[1], 1, tiling, COLUMNS)
        ),
        target=target.place(),
        residual=other.place(),
        panel=Place("panel", BaseWord.SCRATCH, (scratch + sums_floats) * BF16.per_float, BF16),
        sums=Place("sums", BaseWord.SCRATCH, scratch),
        tap_table=constants.table(torch.tensor(taps)),
        source_table=constants.table(pixel_table(node, source, batches, node.stride)),
        target_table=constants.table(pixel_table(node, target, batches)),
        residual_table=constants.table(pixel_table(node, other, batches)),
        source_image=batches.step(source, node.stride[0]),
        target_image=batches.step(target),
        residual_image=batches.step(other),
        taps=len(taps),
        full_steps=depth // STEP,
        tap_steps=tap_steps,
        steps=steps,
        blocks=tiling.blocks,
        tiles=tiling.tiles,
        larger_tiles=tiling.larger_tiles,
        images=batches.count,
        pixel_parts=parts[0],
        block_parts=parts[1],
        shares_pixels=int(choices.shared == "pixels"),
    )
    end = aligned(scratch + sums_floats + panel_floats)
    return kernel, work, f"matrix tiles {tiling.pixels}x{block}", end
