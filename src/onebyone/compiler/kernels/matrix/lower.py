"""How dense convolutions run on matrix tiles."""

from dataclasses import dataclass

import torch

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.choose.tiling import cut_tiles
from onebyone.compiler.emit.matrix_tiles import COLUMNS
from onebyone.compiler.emit.matrix_tiles import DEPTH as STEP
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.weights import pack_bias
from onebyone.compiler.kernels.matrix.kernel import TILE_FLOATS, MatrixKernel, MatrixWork
from onebyone.compiler.kernels.matrix.weights import pack_matrix, steps_of
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.kernels.places import Batches, batches_of, pixel_table, taps_and_depth
from onebyone.compiler.memory.arena import LINE_FLOATS, aligned
from onebyone.compiler.memory.buffers import Place, Region
from onebyone.compiler.memory.formats import BF16
from onebyone.graph import Convolution

MOST_POSITIONS = 1.4
"""For each pixel; where there were more, pixels are copied."""

MOST_MISSING = 2
"""Positions that a tile reads and does not have: its two halves are as high, and one less there."""


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
    taps, depth = taps_and_depth(node, source)
    positions = _positions(node, source, batches, depth)
    tiling = cut_tiles(builder.target, positions.count, node.shape[1], choices.tile)
    tap_steps = steps_of(depth)
    steps = len(taps) * tap_steps
    together = -(-batches.count * tiling.tiles // parts[0])
    kernel = MatrixKernel(
        pixels=tiling.pixels,
        vectors=tiling.vectors,
        last_vectors=tiling.last_vectors,
        last_lanes=tiling.last_channels,
        is_copied=positions.are_copied,
        is_kept=not batches.are_rows and parts[1] > 1,
        has_full_steps=depth >= STEP,
        depth_tail=depth % STEP,
        has_gaps=positions.have_gaps,
        fetched_lines=-(-tiling.vectors * TILE_FLOATS // (LINE_FLOATS * together)),
        has_residual=operands.residual is not None,
        activation=node.activation,
    )
    panel_floats = together * steps * kernel.panel_step // BF16.per_float
    panel_floats = panel_floats if positions.are_copied else 0
    sums_floats = kernel.heights * kernel.rows * tiling.vectors * COLUMNS
    constants = builder.constants
    weight, bias = node.weight.detach(), None if node.bias is None else node.bias.detach()
    block = tiling.vectors * COLUMNS
    padded = (
        len(taps) if node.weight.shape[1] % STEP else 0
    )  # positions with a step that is not full
    work = MatrixWork(
        source=operands.first_source(node).place,
        weights=constants.add(
            tiling.blocks * steps * tiling.vectors * TILE_FLOATS,
            lambda: pack_matrix(weight, len(taps), tiling),
            *("matrix", node.weight, padded, *tiling.channels),
        ),
        bias=constants.add(
            tiling.blocks * block,
            lambda: pack_bias(bias, node.shape[1], 1, tiling, COLUMNS),
            *("bias", node.bias, node.shape[1], 1, *tiling.channels, COLUMNS),
        ),
        target=target.place(),
        residual=other.place(),
        panel=Place("panel", BaseWord.SCRATCH, (scratch + sums_floats) * BF16.per_float, BF16),
        sums=Place("sums", BaseWord.SCRATCH, scratch),
        tap_table=constants.table(torch.tensor(taps)),
        product_table=constants.table(torch.tensor([0] if positions.are_copied else taps)),
        source_table=constants.table(pixel_table(node, source, batches, node.stride)),
        target_table=constants.table(positions.spread(pixel_table(node, target, batches))),
        residual_table=constants.table(positions.spread(pixel_table(node, other, batches))),
        source_image=batches.step(source, node.stride[0]),
        target_image=batches.step(target),
        residual_image=batches.step(other),
        taps=len(taps),
        full_steps=depth // STEP,
        tap_steps=tap_steps,
        steps=steps,
        position=STEP if positions.are_copied else positions.step,
        advance=kernel.panel_step if positions.are_copied else STEP,
        product_taps=1 if positions.are_copied else len(taps),
        product_steps=steps if positions.are_copied else tap_steps,
        blocks=tiling.blocks,
        tiles=tiling.tiles,
        larger_tiles=tiling.larger_tiles,
        images=batches.count,
        pixel_parts=parts[0],
        block_parts=parts[1],
        shares_pixels=int(choices.shared == "pixels"),
        fetched=kernel.fetched_lines * LINE_FLOATS * steps,
    )
    # Rows of a band lie in the same memory, and a tile that is not full reads behind them.
    behind = MOST_MISSING * positions.step // BF16.per_float if batches.are_rows else 0
    end = aligned(scratch + sums_floats + panel_floats + behind)
    return kernel, work, f"matrix tiles {tiling.pixels}x{block}", end


@dataclass(frozen=True, slots=True)
class Positions:
    """Which positions of a source tiles go through, one `step` of numbers apart.

    `of_pixels` are those of the pixels of a batch; others are gaps, whose sums nobody wants. Copied
    pixels have positions side by side.
    """

    step: int
    of_pixels: torch.Tensor
    are_copied: bool

    @property
    def count(self) -> int:
        """All of them."""
        return int(self.of_pixels.max()) + 1

    @property
    def have_gaps(self) -> bool:
        """Whether some are no pixels."""
        return self.count > len(self.of_pixels)

    def spread(self, table: torch.Tensor) -> torch.Tensor:
        """Return a table of pixels as one of positions; gaps have -1."""
        wide = torch.full((self.count,), -1)
        wide[self.of_pixels] = table
        return wide


def _positions(node: Convolution, source: Region, batches: Batches, depth: int) -> Positions:
    """Return where tiles find the numbers of a batch's pixels, if need be after copying them."""
    step = source.buffer.pixel_stride * node.stride[1]
    table = pixel_table(node, source, batches, node.stride)
    positions = table // step
    are_in_step = bool((positions * step == table).all())
    is_full = depth % STEP == 0 and source.buffer.format == BF16
    # What is read behind the last pixel is counted in pixels side by side.
    if (
        is_full
        and are_in_step
        and node.stride[1] == 1
        and int(positions.max()) < MOST_POSITIONS * len(table)
    ):
        return Positions(step, positions, are_copied=False)
    return Positions(step, torch.arange(len(table)), are_copied=True)
