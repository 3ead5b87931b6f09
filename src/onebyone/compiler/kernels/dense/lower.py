"""How dense and grouped convolutions run: as tiles of a matrix product."""

from dataclasses import dataclass

import torch

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.tiling import cut_tiles
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.kernel import ConvolutionKernel, ConvolutionWork
from onebyone.compiler.kernels.dense.weights import pack_bias, pack_convolution
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.kernels.tiles import fetched_floats, tiled
from onebyone.compiler.memory.buffers import Region
from onebyone.graph import Convolution


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
    choices = builder.choices[node.name]
    operands = operands_of(builder, node)
    kernel, work, note = plan_dense(builder, node, operands)
    builder.add(
        node,
        kernel,
        work,
        chunks=work.pixel_parts * work.block_parts,
        target=operands.target,
        macs=node.macs,
        note=f"{note}, {choices.inner} inside",
    )


def plan_dense(
    builder: PlanBuilder, node: Convolution, operands: Operands
) -> tuple[ConvolutionKernel, ConvolutionWork, str]:
    """Return what computes all images, or a row of one for each chunk of a band; and a note."""
    choices = builder.choices[node.name]
    assert choices.tile is not None, node.name
    batches = _batches(node, choices)
    parts = (batches.count, 1) if batches.are_rows else choices.parts
    source, target, other = operands.source, operands.target, operands.other
    lanes, (_, channels, _, columns) = builder.target.lanes, node.shape
    pixels = batches.images * batches.rows * columns
    tiling = cut_tiles(builder.target, pixels, channels // node.groups, choices.tile)
    taps, depth = _taps_and_depth(node, source)
    # Else weights stay in the private cache, and are there but for the first time.
    is_streamed = choices.inner == "pixels" and not batches.are_rows
    passes = parts[0] if choices.shared == "pixels" else 1
    kernel = ConvolutionKernel(
        **tiled(
            tiling,
            builder.target,
            depth,
            fetchers=max(1, batches.count * tiling.tiles // passes) if is_streamed else 0,
            has_residual=operands.residual is not None,
            activation=node.activation,
        ),
        last_lanes=tiling.last_channels,
    )
    constants = builder.constants
    block, blocks = tiling.vectors * lanes, node.groups * tiling.blocks
    panel = len(taps) * depth * block
    weight = node.weight.detach()
    bias = None if node.bias is None else node.bias.detach()
    work = ConvolutionWork(
        source=operands.first_source(node).place,
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
        pixel_parts=parts[0],
        block_parts=parts[1],
        blocks_inside=int(choices.inner == "channels"),
        shares_pixels=int(choices.shared == "pixels"),
        fetched=fetched_floats(kernel.tile, len(taps) * depth),
    )
    return kernel, work, f"tile {tiling.pixels}x{tiling.vectors * lanes}"


def _batches(node: Convolution, choices: Choices) -> Batches:
    images, _, rows, _ = node.shape
    if choices.band:
        return Batches(rows, 1, 1, are_rows=True)
    return Batches(images // choices.together, choices.together, rows)


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
