"""How dense and grouped convolutions run: as tiles of a matrix product."""

from dataclasses import dataclass

import torch

from onebyone.compiler.choices.chunks import choose_loops
from onebyone.compiler.choices.tiles import choose_tiling, choose_unroll
from onebyone.compiler.choices.tiling import Tiling
from onebyone.compiler.kernels.dense.kernel import ConvolutionKernel, ConvolutionWork
from onebyone.compiler.kernels.dense.weights import pack_bias, pack_convolution
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.plan.buffers import Region
from onebyone.compiler.plan.builder import PlanBuilder
from onebyone.graph import Convolution

JOINED_PIXELS = 64
"""Images with fewer pixels are tiled together."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Cut outputs into `count` batches of `images x rows` rows of pixels, each tiled on its own.

    They are images (or all of them together), or the rows of one.
    """

    count: int
    images: int
    rows: int
    are_rows: bool = False

    def step(self, region: Region, stride: int = 1) -> int:
        """Return the floats from one batch to the next."""
        return region.buffer.row_stride * stride if self.are_rows else region.buffer.image_stride


def lower_dense(builder: PlanBuilder, node: Convolution) -> None:
    """Add the operation that sums over the kernel's positions and the input channels."""
    images, _, rows, columns = node.shape
    # Small images are tiled together, so that a batch of vectors is one matrix.
    joined = images if rows * columns < JOINED_PIXELS else 1
    batches = Batches(images // joined, joined, rows)
    tiling = _choose_tiling(builder, node, batches)
    loops = choose_loops(
        builder.target,
        batches.count * tiling.tiles,
        node.groups * tiling.blocks,
        macs=node.macs,
        weights=node.weight.numel(),
    )
    operands = operands_of(builder, node)
    kernel, work = _plan(builder, node, operands, batches, tiling, loops)
    builder.add(
        node,
        kernel,
        work,
        chunks=work.pixel_parts * work.block_parts,
        target=operands.target,
        macs=node.macs,
        note=f"{_shown(builder, tiling)}, {'channels' if work.blocks_inside else 'pixels'} inside",
    )


def plan_dense_rows(
    builder: PlanBuilder, node: Convolution, operands: Operands
) -> tuple[ConvolutionKernel, ConvolutionWork, str]:
    """Return what computes one image, a row for each chunk, and a note on how."""
    rows = node.shape[2]
    batches = Batches(rows, 1, 1, are_rows=True)
    tiling = _choose_tiling(builder, node, batches)
    kernel, work = _plan(builder, node, operands, batches, tiling, (rows, 1, True))
    return kernel, work, _shown(builder, tiling)


def _choose_tiling(builder: PlanBuilder, node: Convolution, batches: Batches) -> Tiling:
    pixels = batches.images * batches.rows * node.shape[3]
    depth = node.weight[0].numel()
    return choose_tiling(builder.target, pixels, node.shape[1] // node.groups, depth)


def _shown(builder: PlanBuilder, tiling: Tiling) -> str:
    return f"tile {tiling.pixels}x{tiling.vectors * builder.target.lanes}"


def _plan(
    builder: PlanBuilder,
    node: Convolution,
    operands: Operands,
    batches: Batches,
    tiling: Tiling,
    loops: tuple[int, int, bool],
) -> tuple[ConvolutionKernel, ConvolutionWork]:
    source, target, other = operands.source, operands.target, operands.other
    lanes, channels = builder.target.lanes, node.shape[1]
    taps, depth = _taps_and_depth(node, source)
    pixel_parts, block_parts, blocks_inside = loops
    kernel = ConvolutionKernel(
        pixels=tiling.pixels,
        has_smaller_tiles=tiling.larger_tiles < tiling.tiles,
        vectors=tiling.vectors,
        last_vectors=tiling.last_vectors,
        stored_lanes=tiling.last_channels,
        unroll=choose_unroll(depth),
        has_residual=operands.residual is not None,
        activation=node.activation,
    )
    constants = builder.constants
    block, blocks = tiling.vectors * lanes, node.groups * tiling.blocks
    panel = len(taps) * depth * block
    weight = node.weight.detach()
    bias = None if node.bias is None else node.bias.detach()
    work = ConvolutionWork(
        source=operands.first_source(node),
        weights=constants.add(
            blocks * panel, lambda: pack_convolution(weight, node.groups, tiling, lanes)
        ),
        bias=constants.add(
            blocks * block, lambda: pack_bias(bias, channels, node.groups, tiling, lanes)
        ),
        target=target.place(),
        residual=other.place(),
        tap_table=constants.table(torch.tensor(taps)),
        source_table=constants.table(_pixel_table(node, source, batches, node.stride)),
        target_table=constants.table(_pixel_table(node, target, batches)),
        residual_table=constants.table(_pixel_table(node, other, batches)),
        source_image=batches.step(source, node.stride[0]),
        target_image=batches.step(target),
        residual_image=batches.step(other),
        taps=len(taps),
        depth=depth,
        panel=panel,
        bias_step=block,
        blocks=blocks,
        blocks_per_group=tiling.blocks,
        group_source=node.weight.shape[1],
        group_target=channels // node.groups,
        tiles=tiling.tiles,
        larger_tiles=tiling.larger_tiles,
        images=batches.count,
        pixel_parts=pixel_parts,
        block_parts=block_parts,
        blocks_inside=int(blocks_inside),
    )
    return kernel, work


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
    node: Convolution, region: Region, batches: Batches, stride: tuple[int, int] = (1, 1)
) -> torch.Tensor:
    """Return where the numbers of each output pixel start, in floats behind those of the first."""
    image = torch.arange(batches.images) * region.buffer.image_stride
    y = torch.arange(batches.rows) * stride[0] * region.buffer.row_stride
    x = torch.arange(node.shape[3]) * stride[1] * region.buffer.pixel_stride
    return (image[:, None, None] + y[:, None] + x).flatten()
