"""Grouped convolutions of few channels: outputs side by side share what they read.

Where a group fills one vector of channels, a tile of a matrix product has one vector as well, and
each number of a pixel is loaded for a single multiply-add. So a row of outputs is done `pixels` at
a time, and each number is spread over a vector once for all the outputs that it belongs to. Groups
that are narrower than a vector share one.

A sum goes through the rows of the kernel, at each through the input channels, and at each of these
through the columns.
"""

from dataclasses import dataclass
from typing import Any

import torch
from llvmlite import ir
from torch import Tensor

from onebyone.compiler.choose.tiling import cut_evenly
from onebyone.compiler.emit.code import I64, Code
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.record import Formats, Record, Work
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.operands import operands_of
from onebyone.compiler.kernels.tiles import by_size, first_pixel, for_tiles, part_of_chunk
from onebyone.compiler.memory.buffers import Place, Strided
from onebyone.compiler.memory.formats import FP16, FP32
from onebyone.graph import Convolution, Function

WRITTEN_OUT = 256
"""Multiply-adds of the inner loop, at most: it stays in the cache of decoded instructions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedKernel(Kernel):
    """Convolve vectors of channels, `pixels` outputs of a row at a time.

    Args:
        kernel_size: Rows and columns.
        stride: From one output to the next, in rows and columns of the source.
        dilation: From one column of the kernel to the next.
        source_pixel: Numbers from one pixel of the source to the next: known here, addresses need
            no registers.
        bundle: Groups that share a vector.
        unroll: Input channels that are written out.
        pixels: Outputs of the larger tiles.
        has_smaller_tiles: Whether others have one less.
        has_residual: Whether something is added.
        activation: What comes last.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    dilation: int
    source_pixel: int
    bundle: int
    unroll: int
    pixels: int
    has_smaller_tiles: bool
    has_residual: bool
    activation: Function | None

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: its tiles and vectors of channels."""
        tiles = code.mul(code.mul(*record.numbers("images", "rows")), record.number("tiles"))
        part = part_of_chunk(code, record, tiles)
        run_tile = _emit_dispatch(code, self, record.formats)
        for_tiles(
            code,
            record,
            part,
            lambda tile, block: code.builder.call(
                run_tile, [record.address, record.bases, tile, block]
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedWork(Work):
    """Numbers for `GroupedKernel`; weights are `(blocks, kernel height, C, kernel width, lanes)`.

    A block is a vector of output channels; the first of `blocks_per_group` reads from channel
    `group_source` times the number of its group on. There are `tiles` in a row.
    """

    source: Strided
    weights: Place
    bias: Place
    target: Strided
    residual: Strided
    source_step: int
    depth: int
    blocks: int
    blocks_per_group: int
    group_source: int
    images: int
    rows: int
    tiles: int
    larger_tiles: int
    pixel_parts: int
    block_parts: int
    blocks_inside: int
    shares_pixels: int


def lower_grouped(builder: PlanBuilder, node: Convolution) -> None:
    """Add the operation that computes a grouped convolution along rows."""
    choices, operands = builder.choices[node.name], operands_of(builder, node)
    assert choices.tile is not None, node.name
    source, target, other = operands.source, operands.target, operands.other
    images, channels, rows, columns = node.shape
    lanes, depth = builder.target.lanes, node.weight.shape[1]
    pixels, larger, tiles = cut_evenly(columns, choices.tile.pixels)
    bundle = max(1, lanes * node.groups // channels)
    blocks = channels // lanes
    kernel = GroupedKernel(
        kernel_size=node.kernel_size,
        stride=node.stride,
        dilation=node.dilation[1],
        source_pixel=source.buffer.pixel_stride,
        bundle=bundle,
        unroll=_unroll(node, pixels, bundle),
        pixels=pixels,
        has_smaller_tiles=larger < tiles,
        has_residual=operands.residual is not None,
        activation=node.activation,
    )
    weight = node.weight.detach()
    bias = torch.zeros(channels, dtype=torch.float32) if node.bias is None else node.bias.detach()
    numbers = FP16 if choices.unit == "halves" else FP32
    add = builder.constants.add
    work = GroupedWork(
        source=operands.first_source(node),
        weights=add(
            weight.numel(),
            lambda: pack_grouped(weight.half() if numbers == FP16 else weight, lanes),
            *("grouped", node.weight, lanes),
            numbers=numbers,
        ),
        bias=add(channels, lambda: bias, "channels", node.bias, channels),
        target=target.strided(),
        residual=other.strided(),
        source_step=source.buffer.row_stride * node.dilation[0],
        depth=depth,
        blocks=blocks,
        blocks_per_group=max(1, blocks // node.groups),
        group_source=depth * bundle,
        images=images,
        rows=rows,
        tiles=tiles,
        larger_tiles=larger,
        pixel_parts=choices.parts[0],
        block_parts=choices.parts[1],
        blocks_inside=int(choices.inner == "channels"),
        shares_pixels=int(choices.shared == "pixels"),
    )
    halves = ", weights as halves" if numbers == FP16 else ""
    builder.add(
        node,
        kernel,
        work,
        chunks=choices.chunks,
        target=target,
        macs=node.macs,
        note=f"tile {pixels}x{lanes} along rows, {choices.inner} inside{halves}",
    )


def pack_grouped(weight: Tensor, lanes: int) -> Tensor:
    """Return `(blocks, kernel height, C / groups, kernel width, lanes)`."""
    return weight.view(-1, lanes, *weight.shape[1:]).permute(0, 3, 2, 4, 1)


def _unroll(node: Convolution, pixels: int, bundle: int) -> int:
    """Return how many input channels are written out: all, where they lie in one vector."""
    depth, width = node.weight.shape[1], node.kernel_size[1]
    most = max(1, WRITTEN_OUT // (pixels * width))
    return depth if bundle > 1 else max(u for u in range(1, most + 1) if depth % u == 0)


def _emit_dispatch(outer: Code, kernel: GroupedKernel, formats: Formats) -> ir.Function:
    """Write the function that computes a tile of a vector of channels."""
    # No part of the loops around it, so that it is there once, and has all registers.
    name, kinds = f"{outer.function.name}_tile", [PTR, PTR, I64, I64]
    code = Code.internal(outer.module, outer.target, name, *kinds, attribute="noinline")
    address, bases, index, block = code.function.args
    record = Record(code, GroupedWork, address, bases, formats=formats)
    rows, tiles, larger = record.numbers("rows", "tiles", "larger_tiles")
    line, tile = code.div(index, tiles), code.rem(index, tiles)
    image, row = code.div(line, rows), code.rem(line, rows)
    column = first_pixel(code, tile, kernel.pixels, larger)
    places = _places(code, kernel, record, block, (image, row, column))
    by_size(
        code,
        kernel.pixels,
        code.less(tile, larger) if kernel.has_smaller_tiles else None,
        lambda pixels: _emit_tile(code, kernel, record, places, pixels),
    )
    code.builder.ret_void()
    return code.function


def _places(
    code: Code, kernel: GroupedKernel, record: Record, block: Any, position: tuple[Any, Any, Any]
) -> dict[str, Any]:
    """Return where a tile reads and writes first; for its block, weights and bias too."""
    image, row, column = position
    group = code.div(block, record.number("blocks_per_group"))
    channel = code.mul(block, code.lanes)
    height, width = kernel.kernel_size
    panel = code.mul(record.number("depth"), height * width * code.lanes)
    places = {
        "weights": code.at(record.pointer("weights"), code.mul(block, panel)),
        "bias": code.at(record.pointer("bias"), channel),
        "source": code.at(
            record.pointer("source"),
            code.mul(image, record.number("source_image")),
            code.mul(row, code.mul(record.number("source_row"), kernel.stride[0])),
            code.mul(column, kernel.source_pixel * kernel.stride[1]),
            code.mul(group, record.number("group_source")),
        ),
    }
    for name in ["target", "residual"] if kernel.has_residual else ["target"]:
        strides = record.numbers(f"{name}_image", f"{name}_row", f"{name}_pixel")
        offsets = [code.mul(i, s) for i, s in zip(position, strides, strict=True)]
        places[name] = code.at(record.pointer(name), *offsets, channel)
    return places


def _emit_tile(
    code: Code, kernel: GroupedKernel, record: Record, places: dict[str, Any], pixels: int
) -> None:
    height, width = kernel.kernel_size
    users = _users(kernel, pixels)

    def channels(_step: Any, carried: list[Any]) -> list[Any]:
        source, panel, *sums = carried
        for channel in range(kernel.unroll):
            row = [
                code.load(code.at(panel, (channel * width + x) * code.lanes)) for x in range(width)
            ]
            for column, some in users.items():
                place = code.at(source, column * kernel.source_pixel)
                number = _spread(code, kernel, place, channel)
                for pixel, x in some:
                    sums[pixel] = code.multiply_add(number, row[x], sums[pixel])
        panel = code.at(panel, kernel.unroll * width * code.lanes)
        return [code.at(source, kernel.unroll), panel, *sums]

    def kernel_row(index: Any, carried: list[Any]) -> list[Any]:
        panel, *sums = carried
        start = code.at(places["source"], code.mul(index, record.number("source_step")))
        turns = code.div(record.number("depth"), kernel.unroll)
        _, *carried = code.accumulate(turns, [start, panel, *sums], channels, name="c")
        return carried

    initial = [code.load(places["bias"])] * pixels
    _, *sums = code.accumulate(height, [places["weights"], *initial], kernel_row, name="y")

    def place(name: str, pixel: int) -> Any:
        return code.at(places[name], code.mul(record.number(f"{name}_pixel"), pixel))

    if kernel.has_residual:
        others = [code.load(place("residual", pixel)) for pixel in range(pixels)]
        sums = [code.builder.fadd(*pair) for pair in zip(sums, others, strict=True)]
    for pixel, value in enumerate(apply_function(code, kernel.activation, sums)):
        code.store(value, place("target", pixel))


def _users(kernel: GroupedKernel, pixels: int) -> dict[int, list[tuple[int, int]]]:
    """Return what each column of the source belongs to: outputs, and columns of the kernel."""
    found: dict[int, list[tuple[int, int]]] = {}
    for pixel in range(pixels):
        for x in range(kernel.kernel_size[1]):
            column = pixel * kernel.stride[1] + x * kernel.dilation
            found.setdefault(column, []).append((pixel, x))
    return dict(sorted(found.items()))


def _spread(code: Code, kernel: GroupedKernel, place: Any, channel: int) -> Any:
    """Return a vector in which each group's lanes have a number of that group's."""
    if kernel.bundle == 1:
        return code.broadcast(code.load_float(code.at(place, channel)))
    group = code.lanes // kernel.bundle
    return code.shuffle(
        code.load(place), [lane // group * group + channel for lane in range(code.lanes)]
    )
