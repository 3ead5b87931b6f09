"""Dense and grouped convolutions as matrix products of register tiles.

One tile keeps `pixels x vectors` accumulators in registers while it goes through all of K: the
positions of the kernel, and at each the input channels. Sums run in the same order in every tile,
whatever its size, so a number does not depend on how pixels were cut into tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.emit.code import I32, I64, Code, int64
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.numbers import PTR, format_of
from onebyone.compiler.emit.record import Formats, Record, Work
from onebyone.compiler.kernels.tiles import (
    Tile,
    TiledKernel,
    by_tile,
    first_of_pass,
    first_pixel,
    for_tiles,
    line_numbers,
    part_of_chunk,
)
from onebyone.compiler.memory.buffers import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionKernel(TiledKernel):
    """Compute tiles of a dense (or grouped) convolution as a matrix product.

    Args:
        converts_panels: Whether a panel of halves becomes float32 once for all tiles of a chunk,
            one after the other, and not in each of them.
        parts: Into how many parts a panel is cut; all tiles of a chunk read one after the other.
    """

    converts_panels: bool = False
    parts: int = 1

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: its pixel tiles and channel blocks."""
        tiles = code.mul(record.number("tiles"), record.number("images"))
        part = part_of_chunk(code, record, tiles)
        first = part.tiles[0] if self.parts > 1 else first_of_pass(code, record, part)
        run_tile = _emit_dispatch(code, self, record.formats)

        def run(tile: Any, block: Any, which: Any = 0) -> None:
            numbers = [tile, block, first, int64(which)]
            code.builder.call(run_tile, [record.address, record.bases, *numbers])

        if self.parts > 1:
            with (
                part.each_block(code) as block,
                code.loop(0, self.parts, name="part") as which,
                part.each_tile(code) as tile,
            ):
                run(tile, block, which)
            return
        if not self.converts_panels:
            for_tiles(code, record, part, run)
            return
        with part.each_block(code) as block:
            _convert_panel(code, self, record, block)
            with part.each_tile(code) as tile:
                run(tile, block)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionWork(Work):
    """Numbers for `ConvolutionKernel`.

    Tables are of 32 bits; three say where each pixel of an image lies. `taps` are the positions of
    the kernel, each at an entry of `tap_table`. A tile fetches `fetched` numbers of the next panel.
    `converted` is where a panel of halves becomes float32, and `sums` where those of a chunk's
    tiles wait, in the thread's scratch memory. `taps` and `fetched` are of a part of the kernel.
    """

    source: Place
    weights: Place
    converted: Place
    sums: Place
    bias: Place
    target: Place
    residual: Place
    tap_table: Place
    source_table: Place
    target_table: Place
    residual_table: Place
    source_image: int
    target_image: int
    residual_image: int
    taps: int
    depth: int
    panel: int
    bias_step: int
    blocks: int
    blocks_per_group: int
    group_source: int
    group_target: int
    tiles: int
    larger_tiles: int
    images: int
    pixel_parts: int
    block_parts: int
    blocks_inside: int
    shares_pixels: int
    fetched: int


def _convert_panel(code: Code, kernel: ConvolutionKernel, record: Record, block: Any) -> None:
    """Make float32 of a block's weights, if they are not there since the chunk before."""
    b = code.builder
    is_there = b.and_(
        record.base_is(BaseWord.BAND_OWNER, record.address),
        record.base_is(BaseWord.BAND_NEXT, block),
    )
    with b.if_then(b.not_(is_there)):
        halves = code.at(record.pointer("weights"), code.mul(block, record.number("panel")))
        floats, steps = record.pointer("converted"), code.mul(*record.numbers("taps", "depth"))
        width = kernel.tile.vectors * code.lanes
        with code.loop(0, code.mul(steps, width), width, name="row") as row:
            for vector in range(0, width, code.lanes):
                place = code.add(row, vector)
                code.store(code.load(code.at(halves, place)), code.at(floats, place))
        record.set_base(BaseWord.BAND_OWNER, record.address)
        record.set_base(BaseWord.BAND_NEXT, block)


def _emit_dispatch(outer: Code, kernel: ConvolutionKernel, formats: Formats) -> ir.Function:
    """Write the function that finds a tile's places and calls the body of its size."""
    # Inline, so that the record is read once and not for each tile.
    name, kinds = f"{outer.function.name}_tile", [PTR, PTR, I64, I64, I64, I64]
    code = Code.internal(outer.module, outer.target, name, *kinds, attribute="alwaysinline")
    b = code.builder
    address, bases, tile, block, first_tile, part = code.function.args
    record = Record(code, ConvolutionWork, address, bases, formats=formats)

    tiles, larger = record.numbers("tiles", "larger_tiles")
    image, local = code.div(tile, tiles), code.rem(tile, tiles)
    pixel = first_pixel(code, local, kernel.tile.pixels, larger)

    blocks_per_group = record.number("blocks_per_group")
    group, inner = code.div(block, blocks_per_group), code.rem(block, blocks_per_group)
    channel = code.add(
        code.mul(group, record.number("group_target")),
        code.mul(inner, kernel.tile.vectors * code.lanes),
    )
    source = code.at(
        record.pointer("source"),
        code.mul(image, record.number("source_image")),
        code.mul(group, record.number("group_source")),
    )
    target = code.at(
        record.pointer("target"), code.mul(image, record.number("target_image")), channel
    )
    is_last = b.icmp_signed("==", inner, code.sub(blocks_per_group, 1))
    taps, depth = record.numbers("taps", "depth")
    size = record.number("panel")
    panel = code.at(record.pointer("weights"), code.mul(block, size))
    if kernel.parts > 1:
        vectors = b.select(is_last, int64(kernel.last_vectors), int64(kernel.tile.vectors))
        steps = code.mul(taps, code.add(depth, int(kernel.tile.has_odd)))
        size = code.mul(steps, code.mul(vectors, code.lanes))
        panel = code.at(panel, code.mul(part, size))
    weights = record.pointer("converted") if kernel.converts_panels else panel
    bias = code.at(record.pointer("bias"), code.mul(block, record.number("bias_step")))
    residual = target
    if kernel.tile.has_residual:
        residual = code.at(
            record.pointer("residual"), code.mul(image, record.number("residual_image")), channel
        )
    tables = [
        b.gep(record.pointer(f"{name}_table"), [pixel], source_etype=I32)
        for name in ("source", "target", "residual")
    ]
    tap_table = b.gep(record.pointer("tap_table"), [code.mul(part, taps)], source_etype=I32)
    before = code.sub(tile, first_tile)
    arguments = [source, weights, bias, target, residual, tap_table, *tables, taps, depth]
    arguments.append(next_panel(code, record, panel, before, size))
    if kernel.parts > 1:
        sums = kernel.tile.pixels * kernel.tile.vectors * code.lanes
        arguments.append(code.at(record.pointer("sums"), code.mul(before, sums)))
        arguments += [part, code.sub(kernel.parts - 1, part)]

    by_tile(
        code,
        kernel,
        is_large=code.less(local, larger),
        is_last=is_last,
        body=lambda tile: b.call(tile_function(code, tile, arguments), arguments),
    )
    b.ret_void()
    return code.function


def next_panel(code: Code, record: Record, weights: Any, tile: Any, panel: Any) -> Any:
    """Return what a tile fetches of the panel behind `weights`; tiles come in the order 0, 1, ...

    Behind the last panel, of so many numbers, is what the next layer reads first.
    """
    share = code.mul(tile, record.number("fetched"))
    return code.at(weights, panel, code.minimum(share, panel))


def tile_symbol(tile: Tile, kinds: Sequence[ir.Type]) -> str:
    """Name of a tile's function."""
    after = f"{'_residual' if tile.has_residual else ''}_{tile.activation or 'linear'}"
    after = "".join(c if c.isalnum() else "_" for c in after)
    numbers = f"{'pairs' if tile.of_pairs else ''}{'_odd' if tile.has_odd else ''}"
    shape = f"{tile.pixels}x{tile.vectors}_{tile.stored_lanes}_{tile.unroll}_{tile.fetched_lines}"
    formats = "_".join(format_of(kinds[i]).name for i in (0, 1, 3, 4, 11))
    return f"tile_{shape}_{formats}{numbers}{after}{'_part' if tile.is_part else ''}"


def tile_function(code: Code, tile: Tile, arguments: Sequence[Any]) -> ir.Function:
    """Write (once) and return the body of one tile, for arguments like these.

    They are `(source, weights, bias, target, residual, tap_table, source_table,
    target_table, residual_table, taps, depth, ahead)`; the last three tables start at the tile's
    first pixel, and from `ahead` on lies what is fetched for later. A part of K has three more:
    where sums wait, and how many parts are before it and behind it.

    Where pixels lie comes from tables even if they lie at one stride. What LLVM knows of their
    arithmetic it uses to compute addresses anew in the inner loop, and that cost a fifth of the
    speed.
    """
    kinds = [one.type for one in arguments]
    symbol = tile_symbol(tile, kinds)
    known = code.module.globals.get(symbol)
    if known is not None:
        return known
    own = Code.internal(code.module, code.target, symbol, *kinds, attribute="noinline")
    _emit_tile(own, tile)
    return own.function


def _emit_tile(code: Code, tile: Tile) -> None:
    source, weights, bias, target, residual, tap_table, *rest = code.function.args
    *tables, taps, depth, ahead = rest[:6]
    lanes, line = code.lanes, line_numbers(format_of(ahead.type))
    fetched = tile.fetched_lines * line
    # The last vector may be narrower; LLVM then spreads each number once, and takes its low half.
    last = code.with_lanes(code.target.lanes_for(tile.stored_lanes))
    writers = [code] * (tile.vectors - 1) + [last]
    masks = [None] * (tile.vectors - 1) + [last.first_lanes(tile.stored_lanes)]

    def places(start: Any, table: Any) -> list[Any]:
        return [code.at(start, code.load_int32(table, pixel)) for pixel in range(tile.pixels)]

    sources = places(source, tables[0])
    waiting, before, behind = rest[6:] if tile.is_part else (None, None, None)
    if tile.is_part:
        initial = _waiting_sums(code, tile, writers, bias, waiting, before)
    else:
        initial = [writer.load(code.at(bias, lanes * v)) for v, writer in enumerate(writers)]
        initial *= tile.pixels

    numbers = 2 if tile.of_pairs else 1

    def step(
        offset: Any, panel: Any, sums: Sequence[Any], further: int = 0, *, is_odd: bool = False
    ) -> list[Any]:
        row = [
            writer.load_pairs(place) if tile.of_pairs else writer.load(place)
            for v, writer in enumerate(writers)
            for place in [code.at(panel, v * lanes)]
        ]
        added = list(sums)
        for pixel in range(tile.pixels):
            place = code.at(code.at(sources[pixel], offset), further)
            number = (
                code.load_pair(place, is_odd=is_odd) if tile.of_pairs else code.load_float(place)
            )
            for v, writer in enumerate(writers):
                multiply = writer.multiply_pairs if tile.of_pairs else writer.multiply_add
                which = pixel * tile.vectors + v
                added[which] = multiply(writer.broadcast(number), row[v], added[which])
        return added

    def tap(index: Any, carried: list[Any]) -> list[Any]:
        offset, panel, ahead, *sums = carried
        start = code.load_int32(tap_table, index)

        def channels(_step: Any, carried: list[Any]) -> list[Any]:
            offset, panel, ahead, *sums = carried
            for further in range(0, fetched, line):
                code.fetch(code.at(ahead, further))
            for u in range(tile.unroll):
                row = code.at(panel, u * tile.vectors * lanes)
                sums = step(offset, row, sums, u * numbers)
            panel = code.at(panel, tile.unroll * tile.vectors * lanes)
            ahead = code.at(ahead, fetched)
            return [code.add(offset, tile.unroll * numbers), panel, ahead, *sums]

        count = code.div(depth, tile.unroll)
        first = [start, panel, ahead, *sums]
        end, panel, ahead, *sums = code.accumulate(count, first, channels, name="k")
        if tile.has_odd:
            sums = step(end, panel, sums, is_odd=True)
            panel = code.at(panel, tile.vectors * lanes)
        return [offset, panel, ahead, *sums]

    carried = [int64(0), weights, ahead, *initial]
    _, _, _, *sums = code.accumulate(taps, carried, tap, name="tap")

    def finish() -> None:
        targets = places(target, tables[1])
        residuals = places(residual, tables[2]) if tile.has_residual else []
        for pixel in range(tile.pixels):
            for v, (writer, mask) in enumerate(zip(writers, masks, strict=True)):
                value = sums[pixel * tile.vectors + v]
                if tile.has_residual:
                    other = writer.load(code.at(residuals[pixel], v * lanes), mask)
                    value = code.builder.fadd(value, other)
                # One by one: registers are full of sums, with no room for the steps of several.
                (value,) = apply_function(writer, tile.activation, [value])
                writer.store(value, code.at(targets[pixel], v * lanes), mask)

    if tile.is_part:
        is_last = code.builder.icmp_signed("==", behind, int64(0))
        with code.builder.if_else(is_last) as (whole, part):
            with whole:
                finish()
            with part:
                for which, value in enumerate(sums):
                    writers[which % tile.vectors].store(value, code.at(waiting, which * lanes))
    else:
        finish()
    code.builder.ret_void()


def _waiting_sums(
    code: Code, tile: Tile, writers: Sequence[Code], bias: Any, waiting: Any, before: Any
) -> list[Any]:
    """Return what a part of K adds to: the bias if it is the first, or sums that wait."""
    is_first = code.builder.icmp_signed("==", before, int64(0))
    start = code.builder.select(is_first, bias, waiting)
    step = code.builder.select(is_first, int64(0), int64(tile.vectors * code.lanes))
    return [
        writer.load(code.at(start, code.mul(step, pixel), v * code.lanes))
        for pixel in range(tile.pixels)
        for v, writer in enumerate(writers)
    ]
