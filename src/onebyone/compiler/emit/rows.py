"""Kernels that go row by row through an image, channels in vectors.

Each is written as what it does for one vector of one output pixel (or for one whole pixel); the
loops around that, and how a chunk is cut out of them, are the same for all.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import F32, I64, Code
from onebyone.compiler.emit.depthwise import channel_range
from onebyone.compiler.emit.functions import apply_function, exponential
from onebyone.compiler.emit.record import Record
from onebyone.compiler.plan.operations import (
    BilinearKernel,
    ElementwiseKernel,
    FillKernel,
    GatherKernel,
    NormalizeKernel,
    PoolKernel,
    ReadKernel,
    WriteKernel,
)

ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


def for_pixels(code: Code, record: Record, body: Callable[[Any, Any, Any], None]) -> None:
    """Run `body(image, row, column)` for the pixels of a chunk of rows."""
    rows, images, columns = record.numbers("rows", "images", "columns")
    part = code.div(record.chunk, record.number("channel_parts"))
    begin, end = code.part(part, record.number("row_parts"), code.mul(rows, images))
    with code.loop(begin, end, name="row") as index:
        image, row = code.div(index, rows), code.rem(index, rows)
        with code.loop(0, columns, name="column") as column:
            body(image, row, column)


def pixel_place(code: Code, record: Record, name: str, image: Any, row: Any, column: Any) -> Any:
    """Return the address of channel 0 of a pixel of an operand."""
    strides = record.numbers(f"{name}_image", f"{name}_row", f"{name}_pixel")
    offsets = [code.mul(i, s) for i, s in zip((image, row, column), strides, strict=True)]
    return code.at(record.pointer(name), *offsets)


def for_vectors(code: Code, kernel: Any, record: Record, body: Callable[[Any, Any], None]) -> None:
    """Run `body(channel, mask)` for the vectors of a chunk's channels."""
    first, last = channel_range(code, record, record.number("channels"))
    if kernel.has_tail:
        code.for_channels(first, last, body)
        return
    with code.loop(first, last, code.lanes, name="c") as channel:
        body(channel, None)


def emit_elementwise(code: Code, kernel: ElementwiseKernel, record: Record) -> None:
    """Write `target = activation(first operator second)`, or first * second + third."""
    names = ("first", "second", "third")[: len(kernel.spread)]

    def pixel(image: Any, row: Any, column: Any) -> None:
        places = {
            name: pixel_place(code, record, name, image, row, column) for name in (*names, "target")
        }
        spread = {
            name: code.broadcast(code.load_float(places[name]))
            for name, is_spread in zip(names, kernel.spread, strict=True)
            if is_spread
        }

        def vector(channel: Any, mask: Any) -> None:
            values = [
                spread[name] if name in spread else code.load(code.at(places[name], channel), mask)
                for name in names
            ]
            result = apply_function(
                code, kernel.activation, _combine(code, kernel.operator, values)
            )
            code.store(result, code.at(places["target"], channel), mask)

        for_vectors(code, kernel, record, vector)

    for_pixels(code, record, pixel)


def _combine(code: Code, operator: str, values: list[Any]) -> Any:
    if operator == "copy":
        return values[0]
    if operator == "affine":
        return code.multiply_add(*values)
    if operator in ARITHMETIC:
        return getattr(code.builder, ARITHMETIC[operator])(*values)
    return code.binary(operator, *values)


def emit_pool(code: Code, kernel: PoolKernel, record: Record) -> None:
    """Write the maximum, or the sum divided by the count, of each output pixel's window."""
    b = code.builder

    def pixel(image: Any, row: Any, column: Any) -> None:
        row_table, column_table = record.pointer("row_table"), record.pointer("column_table")
        top, bottom, high = (
            code.load_int32(row_table, code.add(code.mul(row, 3), i)) for i in range(3)
        )
        left, right, wide = (
            code.load_int32(column_table, code.add(code.mul(column, 3), i)) for i in range(3)
        )
        count = b.sitofp(code.mul(high, wide), F32)
        source = code.at(record.pointer("source"), code.mul(image, record.number("source_image")))
        target = pixel_place(code, record, "target", image, row, column)
        source_row, source_pixel = record.numbers("source_row", "source_pixel")

        def vector(channel: Any, mask: Any) -> None:
            def window_row(y: Any, totals: list[Any]) -> list[Any]:
                start = code.at(
                    source,
                    channel,
                    code.mul(code.add(top, y), source_row),
                    code.mul(left, source_pixel),
                )

                def window_pixel(x: Any, totals: list[Any]) -> list[Any]:
                    value = code.load(code.at(start, code.mul(x, source_pixel)), mask)
                    if kernel.operator == "max":
                        return [code.binary("maximum", totals[0], value)]
                    return [b.fadd(totals[0], value)]

                columns = code.sub(right, left)
                if kernel.operator == "max":
                    return code.accumulate(columns, totals, window_pixel, name="x")
                # Short sums, then a sum of sums: each number meets fewer roundings.
                (line,) = code.accumulate(columns, [code.splat(0.0)], window_pixel, name="x")
                return [b.fadd(totals[0], line)]

            start = code.splat(float("-inf") if kernel.operator == "max" else 0.0)
            (total,) = code.accumulate(code.sub(bottom, top), [start], window_row, name="y")
            if kernel.operator == "avg":
                total = b.fdiv(total, code.broadcast(count))
            code.store(total, code.at(target, channel), mask)

        for_vectors(code, kernel, record, vector)

    for_pixels(code, record, pixel)


def emit_gather(code: Code, kernel: GatherKernel, record: Record) -> None:
    """Write pixels from the rows, columns and channels that tables name."""

    def pixel(image: Any, row: Any, column: Any) -> None:
        source = pixel_place(
            code,
            record,
            "source",
            image,
            code.load_int32(record.pointer("row_table"), row),
            code.load_int32(record.pointer("column_table"), column),
        )
        target = pixel_place(code, record, "target", image, row, column)
        if kernel.by_channel:
            first, last = channel_range(code, record, record.number("channels"))
            with code.loop(first, last, name="c") as channel:
                origin = code.load_int32(record.pointer("channel_table"), channel)
                number = code.load_float(code.at(source, origin))
                code.builder.store(number, code.at(target, channel), align=4)
            return

        def vector(channel: Any, mask: Any) -> None:
            code.store(code.load(code.at(source, channel), mask), code.at(target, channel), mask)

        for_vectors(code, kernel, record, vector)

    for_pixels(code, record, pixel)


def emit_bilinear(code: Code, kernel: BilinearKernel, record: Record) -> None:
    """Write the mean of four pixels, weighted by how near they are: columns first, then rows."""
    b = code.builder

    def ends(name: str, index: Any) -> tuple[Any, Any, Any]:
        table = record.pointer(f"{name}_table")
        near, far = (code.load_int32(table, code.add(code.mul(index, 2), i)) for i in range(2))
        weight = code.load_float(code.at(record.pointer(f"{name}_weights"), index))
        return near, far, code.broadcast(weight)

    def mix(ends: Sequence[Any], weight: Any) -> Any:
        near, far = ends
        rest = b.fsub(code.splat(1.0), weight)
        return code.multiply_add(far, weight, b.fmul(near, rest))

    def pixel(image: Any, row: Any, column: Any) -> None:
        top, bottom, down = ends("row", row)
        left, right, across = ends("column", column)
        target = pixel_place(code, record, "target", image, row, column)
        corners = [
            [pixel_place(code, record, "source", image, y, x) for x in (left, right)]
            for y in (top, bottom)
        ]

        def vector(channel: Any, mask: Any) -> None:
            rows = [
                mix([code.load(code.at(corner, channel), mask) for corner in pair], across)
                for pair in corners
            ]
            code.store(mix(rows, down), code.at(target, channel), mask)

        for_vectors(code, kernel, record, vector)

    for_pixels(code, record, pixel)


def emit_normalize(code: Code, kernel: NormalizeKernel, record: Record) -> None:
    """Write softmax or layer norm over the channels of each pixel."""
    write = {"softmax": _softmax, "layer_norm": _layer_norm}[kernel.operator]

    def pixel(image: Any, row: Any, column: Any) -> None:
        source = pixel_place(code, record, "source", image, row, column)
        target = pixel_place(code, record, "target", image, row, column)
        write(code, kernel, record, source, target)

    for_pixels(code, record, pixel)


def _reduce(
    code: Code,
    kernel: NormalizeKernel,
    record: Record,
    start: float,
    combine: Callable[[Any, Any, Any], Any],
) -> Any:
    """Carry one vector through all channels: `combine(total, channel, mask)`."""
    with code.builder.goto_entry_block():
        slot = code.builder.alloca(code.vector_type)  # LLVM keeps it in a register
    code.store(code.splat(start), slot)

    def vector(channel: Any, mask: Any) -> None:
        code.store(combine(code.load(slot), channel, mask), slot)

    for_vectors(code, kernel, record, vector)
    return code.load(slot)


def _only(code: Code, mask: Any, value: Any, other: float) -> Any:
    """Return the value in the lanes of the mask, and `other` in the rest."""
    return value if mask is None else code.builder.select(mask, value, code.splat(other))


def _softmax(code: Code, kernel: Any, record: Record, source: Any, target: Any) -> None:
    b = code.builder

    def larger(total: Any, channel: Any, mask: Any) -> Any:
        value = _only(code, mask, code.load(code.at(source, channel), mask), float("-inf"))
        return code.binary("maximum", total, value)

    largest = code.horizontal_maximum(_reduce(code, kernel, record, float("-inf"), larger))
    largest = code.broadcast(largest)

    def power(total: Any, channel: Any, mask: Any) -> Any:
        value = exponential(code, b.fsub(code.load(code.at(source, channel), mask), largest))
        code.store(value, code.at(target, channel), mask)
        return b.fadd(total, _only(code, mask, value, 0.0))

    total = code.broadcast(code.horizontal_sum(_reduce(code, kernel, record, 0.0, power)))

    def divide(channel: Any, mask: Any) -> None:
        place = code.at(target, channel)
        code.store(b.fdiv(code.load(place, mask), total), place, mask)

    for_vectors(code, kernel, record, divide)


def _layer_norm(code: Code, kernel: Any, record: Record, source: Any, target: Any) -> None:
    b = code.builder
    channels = b.sitofp(record.number("channels"), F32)

    def sum_up(total: Any, channel: Any, mask: Any) -> Any:
        return b.fadd(total, code.load(code.at(source, channel), mask))

    total = code.horizontal_sum(_reduce(code, kernel, record, 0.0, sum_up))
    mean = code.broadcast(b.fdiv(total, channels))

    def square(total: Any, channel: Any, mask: Any) -> Any:
        apart = _only(code, mask, b.fsub(code.load(code.at(source, channel), mask), mean), 0.0)
        return code.multiply_add(apart, apart, total)

    total = code.horizontal_sum(_reduce(code, kernel, record, 0.0, square))
    variance = b.fadd(b.fdiv(total, channels), code.load_float(record.pointer("eps")))
    factor = code.broadcast(b.fdiv(ir.Constant(F32, 1.0), code.unary("sqrt", variance)))
    scale, shift = record.pointer("scale"), record.pointer("shift")

    def write(channel: Any, mask: Any) -> None:
        apart = b.fsub(code.load(code.at(source, channel), mask), mean)
        normal = b.fmul(apart, factor)
        value = code.multiply_add(
            normal,
            code.load(code.at(scale, channel), mask),
            code.load(code.at(shift, channel), mask),
        )
        code.store(value, code.at(target, channel), mask)

    for_vectors(code, kernel, record, write)


def emit_fill(code: Code, kernel: FillKernel, record: Record) -> None:
    """Write one value over runs of floats; a chunk is one image."""
    b = code.builder
    start = code.at(record.pointer("target"), code.mul(record.chunk, record.number("target_image")))
    runs = record.pointer("runs")
    with code.loop(0, record.number("run_count"), name="run") as run:
        begin = code.load_int32(runs, code.mul(run, 2))
        length = code.load_int32(runs, code.add(code.mul(run, 2), 1))
        place = code.at(start, begin)
        full = code.mul(code.div(length, code.lanes), code.lanes)
        with code.loop(0, full, code.lanes, name="v") as index:
            code.store(code.splat(kernel.value), code.at(place, index))
        with code.loop(full, length, name="f") as index:
            b.store(ir.Constant(F32, kernel.value), code.at(place, index), align=4)


def emit_read(code: Code, _kernel: ReadKernel, record: Record) -> None:
    """Write the caller's tensor into a buffer, a vector of pixels at a time where they lie so."""
    b = code.builder
    entry = record.number("source")
    base = code.load_pointer(record.bases, entry)
    strides = [code.load_int64(record.bases, code.add(entry, i)) for i in range(1, 5)]
    rows, images, columns, channels = record.numbers("rows", "images", "columns", "channels")
    begin, end = code.part(record.chunk, record.number("row_parts"), code.mul(rows, images))
    pixel = record.number("target_pixel")
    one = ir.Constant(I64, 1)
    with code.loop(begin, end, name="row") as index:
        image, row = code.div(index, rows), code.rem(index, rows)
        source = code.at(base, code.mul(image, strides[0]), code.mul(row, strides[2]))
        target = code.at(
            record.pointer("target"),
            code.mul(image, record.number("target_image")),
            code.mul(row, record.number("target_row")),
        )

        def copy_plane_row(
            channel: Any, first: Any, source: Any = source, target: Any = target
        ) -> None:
            plane = code.at(source, code.mul(channel, strides[1]))
            with code.loop(first, columns, name="x") as x:
                number = code.load_float(code.at(plane, code.mul(x, strides[3])))
                b.store(number, code.at(target, code.mul(x, pixel), channel), align=4)

        contiguous = b.icmp_signed("==", strides[3], one)
        full = code.mul(code.div(columns, code.lanes), code.lanes)
        full = b.select(contiguous, full, ir.Constant(I64, 0))
        columns_of_vectors = code.loop(0, full, code.lanes, name="v")
        with columns_of_vectors as x, code.loop(0, channels, name="c") as channel:
            plane = code.at(source, code.mul(channel, strides[1]))
            vector = code.load(code.at(plane, x))
            for lane in range(code.lanes):
                number = b.extract_element(vector, ir.Constant(ir.IntType(32), lane))
                place = code.at(target, code.mul(code.add(x, lane), pixel), channel)
                b.store(number, place, align=4)
        with code.loop(0, channels, name="c") as channel:
            copy_plane_row(channel, full)


def emit_write(code: Code, _kernel: WriteKernel, record: Record) -> None:
    """Write channels outermost: a chunk is some channels of all images."""
    b = code.builder
    rows, images, columns, channels = record.numbers("rows", "images", "columns", "channels")
    begin, end = code.part(record.chunk, record.number("channel_parts"), code.mul(channels, images))
    pixels = code.mul(rows, columns)
    source_row, source_pixel = record.numbers("source_row", "source_pixel")
    with code.loop(begin, end, name="plane") as plane:
        image, channel = code.div(plane, channels), code.rem(plane, channels)
        source = code.at(
            record.pointer("source"), code.mul(image, record.number("source_image")), channel
        )
        target = code.at(
            record.pointer("target"),
            code.mul(image, record.number("target_image")),
            code.mul(channel, pixels),
        )
        with code.loop(0, rows, name="row") as row:
            line = code.at(source, code.mul(row, source_row))
            place = code.at(target, code.mul(row, columns))
            with code.loop(0, columns, name="x") as x:
                number = code.load_float(code.at(line, code.mul(x, source_pixel)))
                b.store(number, code.at(place, x), align=4)
