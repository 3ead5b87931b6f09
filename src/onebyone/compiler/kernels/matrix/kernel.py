"""Dense convolutions in bfloat16 on matrix tiles (AMX), 16 pixels x 16 channels each.

A chunk goes through its blocks of channels, and for each through all its pixels: four tiles of sums
(two of pixels, two of channels) at a time. Sums are float32, in the same order in every tile.

Tiles read the numbers of their pixels from where these lie, if they lie one stride apart; positions
between two rows of an image may be among them, whose sums nobody wants. Else a chunk first copies
what its pixels read into a panel, in the order in which it is multiplied: 32 numbers of each of a
tile's pixels, then the next 32. What is missing of the last 32 is zero there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.emit.code import Code, int64
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.matrix_tiles import (
    COLUMNS,
    LINE_BYTES,
    ROWS,
    call_tiles,
    configure_tiles,
    tile_number,
)
from onebyone.compiler.emit.matrix_tiles import DEPTH as STEP
from onebyone.compiler.emit.numbers import format_of
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.tiles import LINE_FLOATS, Part, first_pixel, part_of_chunk
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.memory.formats import BF16
from onebyone.graph import Function

TILE_FLOATS = 256
"""Room of a tile of weights: 32 numbers of bfloat16 for each of 16 channels."""

SUMS, PIXELS, WEIGHTS = (0, 1, 2, 3), (4, 5), (6, 7)
"""What is in which of the eight tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixKernel(Kernel):
    """Compute blocks of a dense convolution, up to 32 positions x 32 channels, on matrix tiles.

    Args:
        pixels: Positions are cut into blocks of so many and of one less.
        vectors: Tiles of channels of a block.
        last_vectors: Those of the last one.
        last_lanes: Channels of its last tile that are stored.
        is_copied: Whether pixels are copied into a panel first.
        is_kept: Whether the panel may be there still when the thread takes its next chunk.
        has_full_steps: Whether there are 32 numbers and more at each position of the kernel.
        depth_tail: Numbers behind the last full 32, or none.
        has_gaps: Whether some positions are no pixels.
        fetched_lines: Cache lines of later weights that are fetched in each step.
        has_residual: Whether something is added to the sums.
        activation: What is applied to them.
    """

    pixels: int
    vectors: int
    last_vectors: int
    last_lanes: int
    is_copied: bool
    is_kept: bool
    has_full_steps: bool
    depth_tail: int
    has_gaps: bool
    fetched_lines: int
    has_residual: bool
    activation: Function | None

    @property
    def heights(self) -> int:
        """Tiles of pixels, one below the other."""
        return -(-self.pixels // ROWS)

    @property
    def rows(self) -> int:
        """Pixels of each of these."""
        return -(-self.pixels // self.heights)

    @property
    def panel_step(self) -> int:
        """Numbers of a step of the panel."""
        return self.heights * self.rows * STEP

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: copy its pixels if need be, then multiply."""
        part = part_of_chunk(code, record, code.mul(*record.numbers("tiles", "images")))
        heights = dict.fromkeys((*SUMS, *PIXELS), self.rows) | dict.fromkeys(WEIGHTS, ROWS)
        configure_tiles(code, heights)
        if self.is_copied:
            _fill_panel(code, self, record, part)
        last = code.sub(record.number("blocks"), 1)
        is_whole = self.last_vectors == self.vectors and self.last_lanes == COLUMNS
        with part.each_block(code) as block:
            is_last = None if is_whole else code.builder.icmp_signed("==", block, last)
            with part.each_tile(code) as tile:
                place = _Block(tile, code.sub(tile, part.tiles[0]), block)
                by_end(
                    code,
                    is_last,
                    lambda end, at=place: _multiply(code, self, record, at, is_last=end),
                )
        call_tiles(code, "tilerelease")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixWork(Work):
    """Numbers for `MatrixKernel`.

    To copy, `source_table` says where pixels lie, and the kernel's positions are the `taps` entries
    of `tap_table`, with `full_steps` times 32 numbers and a rest, `tap_steps` in all. To multiply,
    a position is `position` numbers behind the one before, and `product_taps` and `product_steps`
    are those of what is read: of the panel, or of where pixels lie; from one step to the next it is
    `advance` numbers. Tables of targets have -1 where a position is no pixel.
    """

    source: Place
    weights: Place
    bias: Place
    target: Place
    residual: Place
    panel: Place
    sums: Place
    tap_table: Place
    product_table: Place
    source_table: Place
    target_table: Place
    residual_table: Place
    source_image: int
    target_image: int
    residual_image: int
    taps: int
    full_steps: int
    tap_steps: int
    steps: int
    position: int
    advance: int
    product_taps: int
    product_steps: int
    blocks: int
    tiles: int
    larger_tiles: int
    images: int
    pixel_parts: int
    block_parts: int
    shares_pixels: int
    fetched: int


@dataclass(frozen=True, slots=True)
class _Block:
    """A tile, its number in the chunk, and a block of channels."""

    tile: Any
    index: Any
    block: Any


def by_end(code: Code, is_last: Any | None, body: Callable[[bool], object]) -> None:
    """Run `body(is_last)`; where that is None, never with True."""
    if is_last is None:
        body(False)
        return
    with code.builder.if_else(is_last) as (last, other):
        with last:
            body(True)
        with other:
            body(False)


def _fill_panel(code: Code, kernel: MatrixKernel, record: Record, part: Part) -> None:
    """Copy what a chunk's pixels read, if it is not there since the chunk before."""
    owner, first = record.address, part.tiles[0]

    def fill() -> None:
        with part.each_tile(code) as tile:
            panel = _panel(code, kernel, record, code.sub(tile, first))
            _copy_pixels(code, kernel, record, tile, panel)

    if not kernel.is_kept:
        fill()
        return
    is_there = code.builder.and_(
        record.base_is(BaseWord.BAND_OWNER, owner), record.base_is(BaseWord.BAND_NEXT, first)
    )
    with code.builder.if_then(code.builder.not_(is_there)):
        fill()
        record.set_base(BaseWord.BAND_OWNER, owner)
        record.set_base(BaseWord.BAND_NEXT, first)


def _panel(code: Code, kernel: MatrixKernel, record: Record, index: Any) -> Any:
    """Return where a tile's part of the panel starts."""
    size = code.mul(record.number("steps"), kernel.panel_step)
    return code.at(record.pointer("panel"), code.mul(index, size))


def _copy_pixels(code: Code, kernel: MatrixKernel, record: Record, tile: Any, panel: Any) -> None:
    """Copy what the pixels of a tile read into its panel."""
    wide, step = code.with_lanes(STEP), kernel.panel_step
    source, pixel, count = _pixels(code, kernel, record, tile, "source")
    table, taps = record.pointer("source_table"), record.pointer("tap_table")
    full_steps, tap_steps = record.numbers("full_steps", "tap_steps")
    with code.loop(0, count, name="row") as row:
        start = code.at(source, code.load_int32(table, code.add(pixel, row)))
        line = code.at(panel, code.mul(row, STEP))
        with code.loop(0, record.number("taps"), name="tap") as tap:
            numbers = code.at(start, code.load_int32(taps, tap))
            place = code.at(line, code.mul(tap, code.mul(tap_steps, step)))
            if kernel.has_full_steps:
                with code.loop(0, full_steps, name="k") as k:
                    value = wide.load(code.at(numbers, code.mul(k, STEP)))
                    wide.store(value, code.at(place, code.mul(k, step)))
            if kernel.depth_tail:
                mask = wide.first_lanes(kernel.depth_tail)
                value = wide.load(code.at(numbers, code.mul(full_steps, STEP)), mask)
                wide.store(value, code.at(place, code.mul(full_steps, step)))


def _pixels(
    code: Code, kernel: MatrixKernel, record: Record, tile: Any, name: str
) -> tuple[Any, Any, Any]:
    """Return where the image of a tile starts, its first pixel there, and how many it has."""
    tiles, larger = record.numbers("tiles", "larger_tiles")
    image, local = code.div(tile, tiles), code.rem(tile, tiles)
    start = code.at(record.pointer(name), code.mul(image, record.number(f"{name}_image")))
    is_large = code.less(local, larger)
    count = code.builder.select(is_large, int64(kernel.pixels), int64(kernel.pixels - 1))
    return start, first_pixel(code, local, kernel.pixels, larger), count


def _multiply(
    code: Code, kernel: MatrixKernel, record: Record, at: _Block, *, is_last: bool
) -> None:
    """Compute one block of outputs, and bring it to its place."""
    vectors = kernel.last_vectors if is_last else kernel.vectors
    panel = code.mul(record.number("steps"), kernel.vectors * TILE_FLOATS)
    weights = code.at(record.pointer("weights"), code.mul(at.block, panel))
    share = code.minimum(code.mul(at.index, record.number("fetched")), panel)
    arguments = [
        _first_position(code, kernel, record, at),
        weights,
        record.pointer("sums"),
        record.pointer("product_table"),
        *record.numbers("product_taps", "product_steps", "position", "advance"),
        code.at(weights, panel, share),
    ]
    code.builder.call(_product_function(code, kernel, vectors, arguments), arguments)
    lanes = kernel.last_lanes if is_last else COLUMNS
    _finish(code, kernel, record, at, [None] * (vectors - 1) + [code.first_lanes(lanes)])


def _first_position(code: Code, kernel: MatrixKernel, record: Record, at: _Block) -> Any:
    """Return where the numbers of a tile's first position start."""
    if kernel.is_copied:
        return _panel(code, kernel, record, at.index)
    source, pixel, _ = _pixels(code, kernel, record, at.tile, "source")
    return code.at(source, code.mul(pixel, record.number("position")))


def _finish(
    code: Code, kernel: MatrixKernel, record: Record, at: _Block, masks: Sequence[Any]
) -> None:
    """Bring the sums of a block to their place, with bias, residual and activation."""
    channel = code.mul(at.block, kernel.vectors * COLUMNS)
    bias = record.pointer("bias")
    biases = [code.load(code.at(bias, channel, v * COLUMNS)) for v in range(len(masks))]
    target, pixel, count = _pixels(code, kernel, record, at.tile, "target")
    residual = target
    if kernel.has_residual:
        residual, _, _ = _pixels(code, kernel, record, at.tile, "residual")
    sums = record.pointer("sums")

    def place(name: str, start: Any, row: Any) -> tuple[Any, Any]:
        offset = code.load_int32(record.pointer(f"{name}_table"), code.add(pixel, row))
        return offset, code.at(start, channel, offset)

    def pixel_of(row: Any, here: Any) -> None:
        line = code.at(sums, code.mul(row, len(masks) * COLUMNS))
        other = place("residual", residual, row)[1] if kernel.has_residual else None
        values: list[Any] = []
        for v, mask in enumerate(masks):
            value = code.builder.fadd(code.load(code.at(line, v * COLUMNS)), biases[v])
            if other is not None:
                value = code.builder.fadd(value, code.load(code.at(other, v * COLUMNS), mask))
            values.append(value)
        activated = apply_function(code, kernel.activation, values)
        for v, (value, mask) in enumerate(zip(activated, masks, strict=True)):
            code.store(value, code.at(here, v * COLUMNS), mask)

    with code.loop(0, count, name="row") as row:
        offset, here = place("target", target, row)
        if not kernel.has_gaps:
            pixel_of(row, here)
            return
        with code.builder.if_then(code.builder.icmp_signed(">=", offset, int64(0))):
            pixel_of(row, here)


def _product_function(
    outer: Code, kernel: MatrixKernel, vectors: int, arguments: Sequence[Any]
) -> ir.Function:
    """Write (once) and return what multiplies one size of block.

    Its arguments are `(pixels, weights, sums, table, taps, steps, position, advance, ahead)`.
    """
    heights, rows, lines = kernel.heights, kernel.rows, kernel.fetched_lines
    kinds = [one.type for one in arguments]
    name = f"matrix_product_{heights}x{rows}_{vectors}_{lines}_{format_of(kinds[0]).name}"
    known = outer.module.globals.get(name)
    if known is not None:
        return known
    code = Code.internal(outer.module, outer.target, name, *kinds, attribute="noinline")
    pixels, weights, sums, table, taps, steps, position, advance, ahead = code.function.args
    width, stride = int64(LINE_BYTES), code.mul(position, BF16.number_bytes)
    lower = code.mul(position, rows)
    for number in SUMS[: heights * vectors]:
        call_tiles(code, "tilezero", tile_number(number))

    def tap(index: Any, carried: list[Any]) -> list[Any]:
        def step(_index: Any, carried: list[Any]) -> list[Any]:
            upper, weights, ahead = carried
            for line in range(lines):
                code.fetch(code.at(ahead, line * LINE_FLOATS))
            for i in range(heights):
                place = code.at(upper, lower) if i else upper
                call_tiles(code, "tileloadd64", tile_number(PIXELS[i]), place, stride)
            for j in range(vectors):
                place = code.at(weights, j * TILE_FLOATS)
                call_tiles(code, "tileloadd64", tile_number(WEIGHTS[j]), place, width)
                for i in range(heights):
                    which = tile_number(SUMS[i * vectors + j])
                    call_tiles(
                        code, "tdpbf16ps", which, tile_number(PIXELS[i]), tile_number(WEIGHTS[j])
                    )
            weights = code.at(weights, vectors * TILE_FLOATS)
            return [code.at(upper, advance), weights, code.at(ahead, lines * LINE_FLOATS)]

        start = code.at(pixels, code.load_int32(table, index))
        return code.accumulate(steps, [start, *carried], step, name="k")[1:]

    code.accumulate(taps, [weights, ahead], tap, name="tap")
    for i in range(heights):
        for j in range(vectors):
            place = code.at(sums, (i * rows * vectors + j) * COLUMNS)
            which = tile_number(SUMS[i * vectors + j])
            call_tiles(code, "tilestored64", which, place, int64(vectors * LINE_BYTES))
    code.builder.ret_void()
    return code.function
