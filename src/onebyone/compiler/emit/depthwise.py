"""Depthwise convolutions: every channel with its own small kernel.

Channels fill the vectors. A row of outputs is done `pixels` at a time, and each input vector is
loaded once for all the outputs of those that it belongs to.
"""

from typing import Any

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.record import Record
from onebyone.compiler.emit.tiles import by_size, first_pixel
from onebyone.compiler.plan.operations import DepthwiseKernel

UNROLLED_ROWS = 5
"""Kernels of at most so many rows are written out; taller ones loop over their rows."""


def emit_depthwise(code: Code, kernel: DepthwiseKernel, record: Record) -> None:
    """Write one chunk: some rows, and of them some channels."""
    row_parts, channel_parts = record.numbers("row_parts", "channel_parts")
    rows, images, channels = record.numbers("rows", "images", "channels")
    begin, end = code.part(code.div(record.chunk, channel_parts), row_parts, code.mul(rows, images))
    first, last = channel_range(code, record, channels)
    tiles, larger = record.numbers("tiles", "larger_tiles")
    with code.loop(begin, end, name="row") as index:
        image, row = code.div(index, rows), code.rem(index, rows)
        with code.loop(0, tiles, name="tile") as tile:
            places = _places(code, kernel, record, image, row, tile)

            def tiles_of(pixels: int, places: dict[str, Any] = places) -> None:
                code.for_channels(
                    first,
                    last,
                    lambda c, mask: _emit_tile(code, kernel, record, places, pixels, c, mask),
                )

            is_large = code.less(tile, larger) if kernel.has_smaller_tiles else None
            by_size(code, kernel.pixels, is_large, tiles_of)


def channel_range(code: Code, record: Record, channels: Any) -> tuple[Any, Any]:
    """Return the channels of a chunk: cut between whole vectors."""
    part = code.rem(record.chunk, record.number("channel_parts"))
    vectors = code.div(code.add(channels, code.lanes - 1), code.lanes)
    first, last = code.part(part, record.number("channel_parts"), vectors)
    return code.mul(first, code.lanes), code.minimum(code.mul(last, code.lanes), channels)


def _places(
    code: Code, kernel: DepthwiseKernel, record: Record, image: Any, row: Any, tile: Any
) -> dict[str, Any]:
    column = first_pixel(code, tile, kernel.pixels, record.number("larger_tiles"))
    places = {
        "source": code.at(
            record.pointer("source"),
            code.mul(image, record.number("source_image")),
            code.mul(row, code.mul(record.number("source_row"), kernel.stride)),
            code.mul(column, code.mul(record.number("source_pixel"), kernel.stride)),
        )
    }
    for name in ["target", "residual"] if kernel.has_residual else ["target"]:
        places[name] = code.at(
            record.pointer(name),
            code.mul(image, record.number(f"{name}_image")),
            code.mul(row, record.number(f"{name}_row")),
            code.mul(column, record.number(f"{name}_pixel")),
        )
    return places


def _emit_tile(
    code: Code,
    kernel: DepthwiseKernel,
    record: Record,
    places: dict[str, Any],
    pixels: int,
    channel: Any,
    mask: Any,
) -> None:
    height, width = kernel.kernel_size
    channels, source_pixel = record.numbers("channels", "source_pixel")
    weights = code.at(record.pointer("weights"), channel)
    bias = code.load(code.at(record.pointer("bias"), channel), mask)
    source = code.at(places["source"], channel)

    def kernel_row(index: Any, sums: list[Any]) -> list[Any]:
        start = code.at(source, code.mul(index, record.number("source_step")))
        first_weight = code.mul(code.mul(index, width), channels)
        row = [
            code.load(code.at(weights, first_weight, code.mul(channels, x)), mask)
            for x in range(width)
        ]
        for position in range((pixels - 1) * kernel.stride + (width - 1) * kernel.dilation + 1):
            users = [
                (pixel, x)
                for pixel in range(pixels)
                for x in range(width)
                if pixel * kernel.stride + x * kernel.dilation == position
            ]
            if not users:
                continue
            value = code.load(code.at(start, code.mul(source_pixel, position)), mask)
            for pixel, x in users:
                sums[pixel] = code.multiply_add(value, row[x], sums[pixel])
        return sums

    sums = [bias] * pixels
    if height <= UNROLLED_ROWS:
        for y in range(height):
            sums = kernel_row(code.add(y), sums)
    else:
        sums = code.accumulate(height, sums, kernel_row, name="y")
    for pixel, total in enumerate(sums):
        value = total
        if kernel.has_residual:
            place = code.at(
                places["residual"], code.mul(record.number("residual_pixel"), pixel), channel
            )
            value = code.builder.fadd(value, code.load(place, mask))
        value = apply_function(code, kernel.activation, value)
        place = code.at(places["target"], code.mul(record.number("target_pixel"), pixel), channel)
        code.store(value, place, mask)
