"""Dense convolutions in bfloat16 on matrix tiles (AMX), 16 pixels x 16 channels each.

A chunk first copies what its pixels read into a panel, in the order in which it is multiplied: 32
numbers of each of a tile's pixels, then the next 32. What is missing of the last 32 is zero there.
Then it goes through its blocks of channels, and for each through all its pixels: four tiles of sums
(two of pixels, two of channels) at a time. Sums are float32 and run in the same order in every tile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I64, VOID, Code, int64
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.emit.schedule import constant
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.matrix.weights import COLUMNS, STEP
from onebyone.compiler.kernels.tiles import first_pixel, part_of_chunk
from onebyone.compiler.memory.buffers import Place
from onebyone.graph import Function

ROWS = 16
"""Most pixels of a matrix tile."""

LINE_BYTES = 64
"""Of a row of any matrix tile."""

STEP_FLOATS = 256
"""Room of a tile of weights: 32 numbers of bfloat16 for each of 16 channels."""

I8 = ir.IntType(8)
SUMS, PIXELS, WEIGHTS = (0, 1, 2, 3), (4, 5), (6, 7)
"""What is in which of the eight tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixKernel(Kernel):
    """Compute blocks of a dense convolution, up to 32 pixels x 32 channels, on matrix tiles.

    Pixels are cut into blocks of `pixels` and of one less. The last block of channels has
    `last_vectors` tiles, of whose last `last_lanes` channels are stored. A position of the kernel
    has `depth_tail` numbers behind the last full step, or none.
    """

    pixels: int
    vectors: int
    last_vectors: int
    last_lanes: int
    has_full_steps: bool
    depth_tail: int
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
        """Floats of a step of the panel."""
        return self.heights * self.rows * STEP // 2

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: copy its pixels, then multiply."""
        part = part_of_chunk(code, record, code.mul(*record.numbers("tiles", "images")))
        panel_floats = code.mul(record.number("steps"), self.panel_step)

        def panel(tile: Any) -> Any:
            offset = code.mul(code.sub(tile, part.tiles[0]), code.mul(panel_floats, 2))
            return code.at(record.pointer("panel"), offset)

        _configure(code, self)
        with part.each_tile(code) as tile:
            _copy_pixels(code, self, record, tile, panel(tile))
        last = code.sub(record.number("blocks"), 1)
        is_whole = self.last_vectors == self.vectors and self.last_lanes == COLUMNS
        with part.each_block(code) as block:
            is_last = None if is_whole else code.builder.icmp_signed("==", block, last)
            with part.each_tile(code) as tile:
                place = panel(tile)
                by_end(
                    code,
                    is_last,
                    lambda end, at=place, t=tile: _multiply(
                        code, self, record, t, block, at, is_last=end
                    ),
                )
        _tile_call(code, "tilerelease")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixWork(Work):
    """Numbers for `MatrixKernel`; tables are those of `ConvolutionWork`.

    `tap_steps` steps of 32 numbers are multiplied at each of `taps` positions, `steps` in all.
    """

    source: Place
    weights: Place
    bias: Place
    target: Place
    residual: Place
    panel: Place
    sums: Place
    tap_table: Place
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
    blocks: int
    tiles: int
    larger_tiles: int
    images: int
    pixel_parts: int
    block_parts: int
    shares_pixels: int


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


def _configure(code: Code, kernel: MatrixKernel) -> None:
    """Tell the processor how large the tiles are."""
    sizes = {number: kernel.rows for number in (*SUMS, *PIXELS)}
    sizes |= dict.fromkeys(WEIGHTS, ROWS)
    widths = [0] * 16
    rows = [0] * 16
    for number, height in sizes.items():
        widths[number], rows[number] = LINE_BYTES, height
    content = [1, *[0] * 15]
    for width in widths:
        content += [width & 255, width >> 8]
    content += rows
    name = f"matrix_tiles_{kernel.rows}"
    known = code.module.globals.get(name)
    if known is None:
        kind = ir.ArrayType(I8, len(content))
        known = constant(code.module, name, kind, [ir.Constant(I8, one) for one in content])
    _tile_call(code, "ldtilecfg", known)


def _copy_pixels(code: Code, kernel: MatrixKernel, record: Record, tile: Any, panel: Any) -> None:
    """Copy what the pixels of a tile read into its panel."""
    wide = code.with_lanes(STEP)
    source, pixel, count = _pixels(code, kernel, record, tile, "source")
    table, taps = record.pointer("source_table"), record.pointer("tap_table")
    full_steps, tap_steps = record.numbers("full_steps", "tap_steps")
    step = 2 * kernel.panel_step
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
    code: Code,
    kernel: MatrixKernel,
    record: Record,
    tile: Any,
    block: Any,
    panel: Any,
    *,
    is_last: bool,
) -> None:
    """Compute one block of outputs, and bring it to its place."""
    vectors = kernel.last_vectors if is_last else kernel.vectors
    lanes = kernel.last_lanes if is_last else COLUMNS
    steps = record.number("steps")
    weights = code.at(
        record.pointer("weights"),
        code.mul(block, code.mul(steps, kernel.vectors * STEP_FLOATS)),
    )
    sums = record.pointer("sums")
    function = _product_function(code, kernel, vectors)
    code.builder.call(function, [panel, weights, sums, steps])
    channel = code.mul(block, kernel.vectors * COLUMNS)
    bias = [code.load(code.at(record.pointer("bias"), channel, v * COLUMNS)) for v in range(vectors)]
    masks = [None] * (vectors - 1) + [code.first_lanes(lanes)]
    names = ("target", "residual") if kernel.has_residual else ("target",)
    starts = {}
    pixel = count = None
    for name in names:
        start, pixel, count = _pixels(code, kernel, record, tile, name)
        starts[name] = code.at(start, channel)
    with code.loop(0, count, name="row") as row:
        places = {
            name: code.at(
                starts[name],
                code.load_int32(record.pointer(f"{name}_table"), code.add(pixel, row)),
            )
            for name in names
        }
        line = code.at(sums, code.mul(row, vectors * COLUMNS))
        for v, mask in enumerate(masks):
            value = code.builder.fadd(code.load(code.at(line, v * COLUMNS)), bias[v])
            if kernel.has_residual:
                other = code.load(code.at(places["residual"], v * COLUMNS), mask)
                value = code.builder.fadd(value, other)
            value = apply_function(code, kernel.activation, value)
            code.store(value, code.at(places["target"], v * COLUMNS), mask)


def _product_function(outer: Code, kernel: MatrixKernel, vectors: int) -> ir.Function:
    """Write (once) and return `product(panel, weights, sums, steps)` of one size of block."""
    heights, rows = kernel.heights, kernel.rows
    name = f"matrix_product_{heights}x{rows}_{vectors}"
    known = outer.module.globals.get(name)
    if known is not None:
        return known
    code = Code.internal(
        outer.module, outer.target, name, PTR, PTR, PTR, I64, attribute="noinline"
    )
    panel, weights, sums, steps = code.function.args
    width = int64(LINE_BYTES)
    for number in SUMS[: heights * vectors]:
        _tile_call(code, "tilezero", _tile(number))

    def step(_index: Any, carried: list[Any]) -> list[Any]:
        pixels, channels = carried
        for i in range(heights):
            place = code.at(pixels, i * rows * STEP // 2)
            _tile_call(code, "tileloadd64", _tile(PIXELS[i]), place, width)
        for j in range(vectors):
            place = code.at(channels, j * STEP_FLOATS)
            _tile_call(code, "tileloadd64", _tile(WEIGHTS[j]), place, width)
            for i in range(heights):
                which = _tile(SUMS[i * vectors + j])
                _tile_call(code, "tdpbf16ps", which, _tile(PIXELS[i]), _tile(WEIGHTS[j]))
        return [code.at(pixels, kernel.panel_step), code.at(channels, vectors * STEP_FLOATS)]

    code.accumulate(steps, [panel, weights], step)
    for i in range(heights):
        for j in range(vectors):
            place = code.at(sums, (i * rows * vectors + j) * COLUMNS)
            stride = int64(vectors * LINE_BYTES)
            _tile_call(code, "tilestored64", _tile(SUMS[i * vectors + j]), place, stride)
    code.builder.ret_void()
    return code.function


def _tile(number: int) -> ir.Constant:
    return ir.Constant(I8, number)


def _tile_call(code: Code, name: str, *arguments: Any) -> None:
    kinds = [PTR if isinstance(one, ir.GlobalVariable) else one.type for one in arguments]
    function = code.intrinsic(f"llvm.x86.{name}", VOID, kinds)
    code.builder.call(function, list(arguments))
