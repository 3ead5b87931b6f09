"""Convolutions that run together: one makes rows, the next reads them while they are in the cache.

The rows between the first two convolutions lie in a window of scratch memory. A thread that has
just done the band before moves the rows that both read to the window's start, and computes new ones
behind them; any other computes them all. Rows outside of the image are zeros.
"""

from typing import Any

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record
from onebyone.compiler.plan.buffers import (
    BAND_NEXT,
    BAND_OWNER,
    BAND_RESIDUAL,
    BAND_ROW,
    BAND_SOURCE,
    BAND_TARGET,
    BAND_WINDOW,
)
from onebyone.compiler.plan.operations import BandKernel

ENTRIES = {"source": BAND_SOURCE, "residual": BAND_RESIDUAL, "target": BAND_TARGET}


def emit_band(code: Code, kernel: BandKernel, record: Record) -> None:
    """Write one chunk: a band of rows of one image."""
    bands, rows, rows_at_once = record.numbers("bands", "rows", "rows_at_once")
    image, band = code.div(record.chunk, bands), code.rem(record.chunk, bands)
    for name, entry in ENTRIES.items():
        offset = code.mul(image, record.number(f"{name}_image"))
        record.set_base(entry, code.at(record.pointer(name), offset))
    first = code.mul(band, rows_at_once)
    last = code.minimum(code.add(first, rows_at_once), rows)
    if kernel.has_window:
        _fill_window(code, record, band, first, last)
    with code.loop(first, last, name="row") as row:
        offset = code.mul(row, record.number("row_row"))
        record.set_base(BAND_ROW, code.at(record.pointer("row"), code.sub(0, offset)))
        for stage in range(int(kernel.has_window), kernel.stages):
            record.run_stage(stage, row)


def _fill_window(code: Code, record: Record, band: Any, first: Any, last: Any) -> None:
    """Compute the rows that outputs `first .. last - 1` read, but for those that are there."""
    b = code.builder
    window, row_floats = record.pointer("window"), record.number("window_row")
    top, stride, reach = record.numbers("window_top", "window_stride", "window_reach")
    start = code.sub(code.mul(first, stride), top)
    stop = code.add(code.sub(code.mul(code.sub(last, 1), stride), top), reach)
    goes_on = b.and_(
        b.and_(record.base_is(BAND_OWNER, record.address), record.base_is(BAND_NEXT, record.chunk)),
        code.less(0, band),
    )
    with b.if_else(goes_on) as (again, anew):
        with again:
            before = code.mul(code.mul(record.number("rows_at_once"), stride), row_floats)
            shared = code.mul(code.sub(reach, stride), row_floats)
            _copy(code, code.at(window, before), window, shared)
        with anew:
            _clear_sides(code, record)
    known = b.select(goes_on, code.sub(reach, stride), code.add(0))
    record.set_base(BAND_WINDOW, code.at(window, code.mul(row_floats, code.sub(0, start))))
    with code.loop(code.add(start, known), stop, name="line") as line:
        is_inside = b.and_(
            b.icmp_signed(">=", line, code.add(0)), code.less(line, record.number("window_rows"))
        )
        with b.if_else(is_inside) as (inside, outside):
            with inside:
                record.run_stage(0, line)
            with outside:
                place = code.at(window, code.mul(code.sub(line, start), row_floats))
                _clear(code, place, row_floats)
    record.set_base(BAND_OWNER, record.address)
    record.set_base(BAND_NEXT, code.add(record.chunk, 1))


def _clear_sides(code: Code, record: Record) -> None:
    """Set what is left and right of the image to zero, in all rows of the window."""
    window, row_floats = record.pointer("window"), record.number("window_row")
    left, right = record.numbers("window_left", "window_right")
    stride, reach = record.numbers("window_stride", "window_reach")
    rows = code.add(code.mul(code.sub(record.number("rows_at_once"), 1), stride), reach)
    with code.loop(0, rows, name="side") as row:
        line = code.at(window, code.mul(row, row_floats))
        _clear(code, line, left)
        _clear(code, code.at(line, code.sub(row_floats, right)), right)


def _clear(code: Code, place: Any, count: Any) -> None:
    zeros = code.splat(0.0)
    code.for_channels(0, count, lambda i, mask: code.store(zeros, code.at(place, i), mask))


def _copy(code: Code, source: Any, target: Any, count: Any) -> None:
    """Copy floats to an earlier place; the two may overlap."""
    code.for_channels(
        0,
        count,
        lambda i, mask: code.store(code.load(code.at(source, i), mask), code.at(target, i), mask),
    )
