"""How dense and grouped convolutions run: as tiles of a matrix product."""

import torch

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.tiling import cut_tiles
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.kernel import ConvolutionKernel, ConvolutionWork
from onebyone.compiler.kernels.dense.weights import pack_bias, pack_convolution, pack_pairs
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.kernels.places import batches_of, pixel_table, taps_and_depth
from onebyone.compiler.kernels.tiles import fetched_floats, tiled
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.memory.formats import BF16, FP16, FP32
from onebyone.compiler.options import CompileOptions
from onebyone.graph import Convolution


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
        scratch=_scratch(kernel, work),
        macs=node.macs,
        note=f"{note}, {choices.inner} inside",
    )


def plan_dense(
    builder: PlanBuilder, node: Convolution, operands: Operands
) -> tuple[ConvolutionKernel, ConvolutionWork, str]:
    """Return what computes all images, or a row of one for each chunk of a band; and a note."""
    choices = builder.choices[node.name]
    assert choices.tile is not None, node.name
    batches = batches_of(node, choices)
    parts = (batches.count, 1) if batches.are_rows else choices.parts
    source, target, other = operands.source, operands.target, operands.other
    lanes, (_, channels, _, columns) = builder.target.lanes, node.shape
    pixels = batches.images * batches.rows * columns
    tiling = cut_tiles(builder.target, pixels, channels // node.groups, choices.tile)
    taps, depth = taps_and_depth(node, source)
    of_pairs = choices.unit == "pairs" and source.buffer.format == BF16 and depth > 1
    steps = depth // 2 if of_pairs else depth
    are_halves = choices.unit == "halves"
    numbers = FP16 if are_halves and choices.converted != "beforehand" else FP32
    # Else weights stay in the private cache, and are there but for the first time.
    is_streamed = choices.inner == "pixels" and not batches.are_rows
    cuts = choices.kernel_parts
    passes = parts[0] if choices.shared == "pixels" or cuts > 1 else 1
    kernel = ConvolutionKernel(
        **tiled(
            tiling,
            builder.target,
            steps,
            fetchers=max(1, batches.count * tiling.tiles // passes) if is_streamed else 0,
            has_residual=operands.residual is not None,
            activation=node.activation,
            of_pairs=of_pairs,
            has_odd=of_pairs and depth % 2 == 1,
            weights=numbers,
            is_part=cuts > 1,
        ),
        parts=cuts,
        last_lanes=tiling.last_channels,
        converts_panels=numbers == FP16 and choices.converted == "by panels",
    )
    constants = builder.constants
    block, blocks = tiling.vectors * lanes, node.groups * tiling.blocks
    panel = len(taps) * (-(-depth // 2) if of_pairs else depth) * block
    weight = node.weight.detach()
    bias = None if node.bias is None else node.bias.detach()
    facts = (*tiling.channels, lanes)
    how = "pairs" if of_pairs else "halves" if are_halves else "floats"
    # Of a position with an odd number of channels the last pair is padded.
    padded = len(taps) if of_pairs and node.weight.shape[1] % 2 else 0

    def pack_weights() -> torch.Tensor:
        if of_pairs:
            return pack_pairs(weight, node.groups, len(taps), tiling, lanes)
        rounded = weight.half() if are_halves else weight
        kept = rounded if numbers == FP16 else rounded.float()
        return pack_convolution(kept, node.groups, tiling, lanes)

    work = ConvolutionWork(
        source=operands.first_source(node).place,
        weights=constants.add(
            blocks * panel,
            pack_weights,
            *(how, node.weight, node.groups, padded, *facts),
            numbers=numbers,
        ),
        converted=Place("converted", BaseWord.SCRATCH),
        sums=Place("sums", BaseWord.SCRATCH),
        bias=constants.add(
            blocks * block,
            lambda: pack_bias(bias, channels, node.groups, tiling, lanes),
            *("bias", node.bias, channels, node.groups, *facts),
        ),
        target=target.place(),
        residual=other.place(),
        tap_table=constants.table(torch.tensor(taps)),
        source_table=constants.table(pixel_table(node, source, batches, node.stride)),
        target_table=constants.table(pixel_table(node, target, batches)),
        residual_table=constants.table(pixel_table(node, other, batches)),
        source_image=batches.step(source, node.stride[0]),
        target_image=batches.step(target),
        residual_image=batches.step(other),
        taps=len(taps) // cuts,
        depth=steps,
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
        fetched=fetched_floats(kernel.tile, len(taps) // cuts * steps) * numbers.per_float,
    )
    note = f"tile {tiling.pixels}x{tiling.vectors * lanes}{' of pairs' if of_pairs else ''}"
    note += f", kernel in {cuts} parts" if cuts > 1 else ""
    return kernel, work, f"{note}{_weights_note(builder.options, node, choices)}"


def _scratch(kernel: ConvolutionKernel, work: ConvolutionWork) -> int:
    """Return the floats of scratch memory that a chunk needs: a panel's, or those of its sums."""
    if kernel.parts > 1:
        tiles = -(-work.tiles * work.images // work.pixel_parts)
        return tiles * kernel.tile.pixels * work.bias_step
    return work.panel if kernel.converts_panels else 0


def _weights_note(options: CompileOptions, node: Convolution, choices: Choices) -> str:
    """Say in which format weights are, where it is not float32 or should not be."""
    if choices.unit == "halves":
        rounded = choices.converted == "beforehand"
        return f", weights {'rounded to' if rounded else 'as'} halves"
    is_kept = options.weights == FP16 and not node.is_depthwise
    return ", weights as float32, as some are beyond halves" if is_kept else ""
