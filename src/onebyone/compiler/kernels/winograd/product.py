"""Winograd's second step: multiply, and transform the sums back.

Multiplications are matrix products of register tiles, as in direct convolutions: one product for
each number of a transformed patch, in which patches are the pixels.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.emit.code import I64, Code, int64
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.kernels.dense.kernel import next_panel, tile_function
from onebyone.compiler.kernels.rows import pixel_place
from onebyone.compiler.kernels.tiles import (
    Tile,
    TiledKernel,
    by_tile,
    first_pixel,
    part_of_chunk,
)
from onebyone.compiler.kernels.winograd.matrices import transform
from onebyone.compiler.kernels.winograd.transform import Strides, transform_vector
from onebyone.compiler.memory.buffers import Place, Strided


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductKernel(TiledKernel):
    """Multiply transformed inputs by transformed weights, and transform the sums back.

    The sums of a chunk's patches and a block of channels stay in the thread's scratch memory.

    Args:
        transforms: Whether a chunk transforms its inputs first; they stay in scratch memory, too.
        ragged: Whether the last patches stick out of the image, at the bottom and at the right.
    """

    way: Winograd
    transforms: bool
    ragged: tuple[bool, bool]
    has_tail: bool

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk, block by block of channels: all products, then all outputs.

        A product's weights are read once for all tiles of the chunk, and fetch those of the next.
        """
        part = part_of_chunk(code, record, record.number("tiles"))
        start, stop = (
            first_pixel(code, tile, self.tile.pixels, record.number("larger_tiles"))
            for tile in part.tiles
        )
        scratch = record.pointer("scratch")
        if self.transforms:
            _transform_inputs(code, self, record, start, stop)
        run_tile, finish = _emit_tile(code, self), _patch_function(code, self)
        with part.each_block(code) as block:
            with (
                code.loop(0, self.way.multiplications, name="product") as product,
                part.each_tile(code) as tile,
            ):
                places = [record.address, record.bases, scratch]
                code.builder.call(run_tile, [*places, product, tile, block, part.tiles[0]])
            _finish_patches(code, self, record, finish, block, start, stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductWork(Work):
    """Numbers for `ProductKernel`; a pixel of the source is a patch.

    From `inputs` that is made: a pixel, for their strides, is a patch as well, and `inputs_line`
    and `inputs_step` lead to the next row and the next pixel of it.
    """

    source: Place
    inputs: Strided
    inputs_line: int
    inputs_step: int
    weights: Place
    zeros: Place
    scratch: Place
    bias: Place
    target: Strided
    residual: Strided
    tap_table: Place
    source_table: Place
    scratch_table: Place
    source_pixel: int
    source_product: int
    scratch_product: int
    panel: int
    depth: int
    channels: int
    columns: int
    rows: int
    patches_down: int
    patches_across: int
    blocks: int
    tiles: int
    larger_tiles: int
    pixel_parts: int
    block_parts: int
    shares_pixels: int
    fetched: int


def _emit_tile(outer: Code, kernel: ProductKernel) -> ir.Function:
    """Write the function that sums one product of a tile of patches over the input channels.

    Its last argument is the first tile of the chunk.
    """
    name, kinds = f"{kernel.symbol}_tile", [PTR] * 3 + [I64] * 4
    code = Code.internal(outer.module, outer.target, name, *kinds, attribute="alwaysinline")
    b = code.builder
    address, bases, scratch, product, tile, block, first_tile = code.function.args
    record = Record(code, ProductWork, address, bases)
    larger = record.number("larger_tiles")
    first, start = (
        first_pixel(code, one, kernel.tile.pixels, larger) for one in (tile, first_tile)
    )
    width = kernel.tile.vectors * code.lanes
    local = code.add(
        code.mul(product, record.number("scratch_product")), code.mul(code.sub(first, start), width)
    )
    sums = code.at(scratch, local)
    patch = code.sub(first, start) if kernel.transforms else first
    source = code.at(
        record.pointer("source"),
        code.mul(patch, record.number("source_pixel")),
        code.mul(product, record.number("source_product")),
    )
    # Panels lie as they are read.
    panel = code.add(code.mul(block, kernel.way.multiplications), product)
    weights = code.at(record.pointer("weights"), code.mul(panel, record.number("panel")))
    arguments = [source, weights, record.pointer("zeros"), sums, sums]
    tables = ("tap", "source", "scratch", "scratch")
    arguments += [record.pointer(f"{name}_table") for name in tables]
    panel = record.number("panel")
    ahead = next_panel(code, record, weights, code.sub(tile, first_tile), panel)
    arguments += [int64(1), record.number("depth"), ahead]

    def multiply(tile: Tile) -> None:
        # Sums are not outputs yet.
        tile = replace(tile, has_residual=False, activation=None)
        b.call(tile_function(code, tile, arguments), arguments)

    is_last = b.icmp_signed("==", block, code.sub(record.number("blocks"), 1))
    by_tile(code, kernel, code.less(tile, larger), is_last, multiply)
    b.ret_void()
    return code.function


def _transform_inputs(
    code: Code, kernel: ProductKernel, record: Record, first: Any, last: Any
) -> None:
    """Transform the inputs of patches `first .. last - 1`."""
    source, depth = record.pointer("source"), record.number("depth")
    strides = Strides(*record.numbers("inputs_line", "inputs_step", "source_product"))
    with code.loop(first, last, name="patch") as patch:
        inputs = pixel_place(code, record, "inputs", *_position(code, record, patch))
        target = code.at(source, code.mul(code.sub(patch, first), record.number("source_pixel")))
        code.for_channels(
            0,
            depth,
            lambda channel, mask: transform_vector(
                code, kernel.way, code.at(inputs, channel), code.at(target, channel), strides, mask
            ),
        )


def _position(code: Code, record: Record, patch: Any) -> tuple[Any, Any, Any]:
    """Return the image of a patch, and its row and column among that one's patches."""
    patches_down, patches_across = record.numbers("patches_down", "patches_across")
    line, column = code.div(patch, patches_across), code.rem(patch, patches_across)
    return code.div(line, patches_down), code.rem(line, patches_down), column


def _finish_patches(
    code: Code,
    kernel: ProductKernel,
    record: Record,
    finish: ir.Function,
    block: Any,
    first: Any,
    last: Any,
) -> None:
    """Transform the sums of patches `first .. last - 1` back."""
    width = kernel.tile.vectors * code.lanes
    start = code.mul(block, width)
    stop = code.minimum(code.add(start, width), record.number("channels"))
    scratch = record.pointer("scratch")
    with code.loop(first, last, name="patch") as patch:
        sums = code.at(scratch, code.mul(code.sub(patch, first), width))
        code.builder.call(finish, [record.address, record.bases, sums, patch, start, stop])


def _patch_function(outer: Code, kernel: ProductKernel) -> ir.Function:
    """Write (once for all that end alike) and return what turns a patch's sums into outputs.

    Its arguments are `(record, bases, sums, patch, start, stop)`: the sums of channels
    `start .. stop - 1` of that patch.
    """
    ending = (
        kernel.way,
        kernel.ragged,
        kernel.has_tail,
        kernel.tile.has_residual,
        kernel.tile.activation,
    )
    name = f"patch_{hashlib.sha256(repr(ending).encode()).hexdigest()[:12]}"
    known = outer.module.globals.get(name)
    if known is not None:
        return known
    kinds = [PTR] * 3 + [I64] * 3
    code = Code.internal(outer.module, outer.target, name, *kinds, attribute="noinline")
    address, bases, sums, patch, start, stop = code.function.args
    _emit_patch(code, kernel, Record(code, ProductWork, address, bases), sums, patch, start, stop)
    code.builder.ret_void()
    return code.function


def _emit_patch(
    code: Code, kernel: ProductKernel, record: Record, sums: Any, patch: Any, start: Any, stop: Any
) -> None:
    rows, columns = kernel.way.rows, kernel.way.columns
    image, row, column = _position(code, record, patch)
    top, left = code.mul(row, rows.outputs), code.mul(column, columns.outputs)
    places = {
        name: pixel_place(code, record, name, image, top, left)
        for name in (["target", "residual"] if kernel.tile.has_residual else ["target"])
    }

    def vector(channel: Any, mask: Any) -> None:
        place = code.at(sums, code.sub(channel, start))
        bias = code.load(code.at(record.pointer("bias"), channel), mask)

        def finish(y: int, x: int, value: Any) -> None:
            def at(name: str) -> Any:
                down, across = record.numbers(f"{name}_row", f"{name}_pixel")
                return code.at(places[name], channel, code.mul(down, y), code.mul(across, x))

            value = code.builder.fadd(value, bias)
            if kernel.tile.has_residual:
                value = code.builder.fadd(value, code.load(at("residual"), mask))
            (value,) = apply_function(code, kernel.tile.activation, [value])
            code.store(value, at("target"), mask)

        height, width = record.numbers("rows", "columns")
        for y, values in enumerate(_outputs(code, kernel, record, place)):
            with _inside(code, kernel.ragged[0], code.add(top, y), height, y):
                for x, value in enumerate(values):
                    with _inside(code, kernel.ragged[1], code.add(left, x), width, x):
                        finish(y, x, value)

    if kernel.has_tail:
        code.for_channels(start, stop, vector)
    else:
        with code.loop(start, stop, code.lanes, name="c") as channel:
            vector(channel, None)


def _outputs(code: Code, kernel: ProductKernel, record: Record, place: Any) -> list[list[Any]]:
    """Return the outputs of a patch, row by row, for the vector of sums at a place."""
    rows, columns = kernel.way.rows, kernel.way.columns
    down, _, _ = rows.matrices()
    across, _, _ = columns.matrices()
    product = record.number("scratch_product")
    halfway = [
        transform(
            code,
            down,
            [
                code.load(code.at(place, code.mul(product, y * columns.inputs + x)))
                for y in range(rows.inputs)
            ],
        )
        for x in range(columns.inputs)
    ]
    return [transform(code, across, [column[y] for column in halfway]) for y in range(rows.outputs)]


def _inside(code: Code, is_ragged: bool, index: Any, end: Any, offset: int) -> ExitStack:
    """Run what is written inside if an index is in the image; the first of a patch always is."""
    stack = ExitStack()
    if is_ragged and offset:
        stack.enter_context(code.builder.if_then(code.less(index, end)))
    return stack
