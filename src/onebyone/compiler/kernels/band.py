"""Convolutions that run together: one makes rows, the next reads them while they are in the cache.

The rows between the first two convolutions lie in a window of the thread's scratch memory. A thread
that has just done the band before moves the rows that both read to the window's start, and computes
new ones behind them; any other computes them all. Rows outside of the image are zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.choose.bands import kept_rows, reached_rows
from onebyone.compiler.choose.choices import Band
from onebyone.compiler.choose.units import runs_depthwise
from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.lower import plan_dense
from onebyone.compiler.kernels.depthwise import plan_depthwise
from onebyone.compiler.kernels.kernel import Kernel, Operation
from onebyone.compiler.kernels.matrix.lower import plan_matrix
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.memory.arena import aligned
from onebyone.compiler.memory.buffers import Buffer, Place, Region
from onebyone.compiler.memory.formats import BF16, FP32, WIDE_BF16, Format
from onebyone.graph import Convolution
from onebyone.graph.words import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BandKernel(Kernel):
    """Run two or three convolutions together, row by row; a chunk is a band of rows of one image.

    A thread that goes on with the next band finds rows that both read still there.

    The operation's stages say what they do. Theirs are records of a single image, and their chunks
    are its rows. Of the values between them only a few rows exist, in the thread's scratch memory.

    Args:
        stages: How many convolutions.
        has_window: Whether the second reads several rows of the first. If not, the first reads them
            from memory.
    """

    stages: int
    has_window: bool

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: a band of rows of one image."""
        bands, rows, rows_at_once = record.numbers("bands", "rows", "rows_at_once")
        image, band = code.div(record.chunk, bands), code.rem(record.chunk, bands)
        for name, entry in ENTRIES.items():
            offset = code.mul(image, record.number(f"{name}_image"))
            record.set_base(entry, code.at(record.pointer(name), offset))
        first = code.mul(band, rows_at_once)
        last = code.minimum(code.add(first, rows_at_once), rows)
        if self.has_window:
            _fill_window(code, record, band, first, last)
        else:
            record.set_base(BaseWord.BAND_OWNER, record.address)
        with code.loop(first, last, name="row") as row:
            offset = code.mul(row, record.number("row_row"))
            record.set_base(BaseWord.BAND_ROW, code.at(record.pointer("row"), code.sub(0, offset)))
            for stage in range(int(self.has_window), self.stages):
                record.run_stage(stage, row)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandWork(Work):
    """Numbers for `BandKernel`.

    A row of outputs reads `window_reach` rows, the next one those `window_stride` further down; the
    first begins `window_top` rows above the image. There are `window_rows`, each `window_row`
    numbers long, with zeros at the left and at the right.
    """

    source: Place
    residual: Place
    target: Place
    window: Place
    row: Place
    source_image: int
    residual_image: int
    target_image: int
    rows: int
    bands: int
    rows_at_once: int
    window_rows: int
    window_stride: int
    window_top: int
    window_reach: int
    window_row: int
    window_left: int
    window_right: int
    row_row: int


def lower_band(builder: PlanBuilder, band: Band) -> None:
    """Add the operation that runs the convolutions of a band; its name is that of the last."""
    nodes = [builder.convolution(name) for name in band.names]
    first, last = nodes[0], nodes[-1]
    depthwise = builder.convolution(band.depthwise)
    outer = Operands(
        operands_of(builder, first).source,
        operands_of(builder, last).residual,
        operands_of(builder, last).target,
    )
    window = _row_region(builder, first, BaseWord.BAND_WINDOW) if band.head else None
    row = _row_region(builder, depthwise, BaseWord.BAND_ROW) if band.tail else None
    window_floats = _window_floats(depthwise, band.rows_at_once, window)
    kept_floats = window_floats + _floats_of(row, 1)
    stages = _stages(builder, nodes, outer, window, row, kept_floats)
    bands = -(-depthwise.shape[2] // band.rows_at_once)
    top, _, left, right = (
        (depthwise.padding[0], 0, *window.buffer.border[2:]) if window else (0, 0, 0, 0)
    )
    pixel = window.buffer.pixel_stride if window else 0
    work = BandWork(
        source=_start(outer.source),
        residual=_start(outer.other),
        target=_start(outer.target),
        window=_scratch("window", 0, window),
        row=_scratch("row", window_floats, row),
        source_image=outer.source.buffer.image_stride,
        residual_image=outer.other.buffer.image_stride,
        target_image=outer.target.buffer.image_stride,
        rows=last.shape[2],
        bands=bands,
        rows_at_once=band.rows_at_once,
        window_rows=first.shape[2] if band.head else 0,
        window_stride=depthwise.stride[0],
        window_top=top,
        window_reach=reached_rows(depthwise),
        window_row=window.buffer.row_stride if window else 0,
        window_left=left * pixel,
        window_right=right * pixel,
        row_row=row.buffer.row_stride if row else 0,
    )
    builder.add(
        last,
        BandKernel(stages=len(stages), has_window=band.head is not None),
        work,
        chunks=last.shape[0] * bands,
        target=outer.target,
        sources=(first.inputs[0], *last.inputs[1:]),
        stages=stages,
        scratch=max(stage.scratch for stage in stages),
        macs=sum(node.macs for node in nodes),
        note=f"{bands} bands",
    )


def _stages(
    builder: PlanBuilder,
    nodes: Sequence[Convolution],
    outer: Operands,
    window: Region | None,
    row: Region | None,
    scratch: int,
) -> tuple[Operation, ...]:
    """Return how each runs; values between two of them lie in the window, and in the row.

    Behind these, from `scratch` on, each may use the thread's scratch memory.
    """
    residual = outer.residual and _moved(outer.residual, BaseWord.BAND_RESIDUAL)
    values = [
        _moved(outer.source, BaseWord.BAND_SOURCE),
        window,
        row,
        _moved(outer.target, BaseWord.BAND_TARGET),
    ]
    places = pairwise(value for value in values if value)
    return tuple(
        _stage(
            builder,
            node,
            Operands(source, residual if node is nodes[-1] else None, target),
            scratch,
        )
        for node, (source, target) in zip(nodes, places, strict=True)
    )


def _stage(builder: PlanBuilder, node: Convolution, operands: Operands, scratch: int) -> Operation:
    if builder.choices[node.name].unit == "matrix":
        kernel, work, note, scratch = plan_matrix(builder, node, operands, scratch)
    else:
        plan = plan_depthwise if runs_depthwise(node) else plan_dense
        kernel, work, note = plan(builder, node, operands)
    return Operation(
        name=node.name,
        path=node.path,
        what=kind_of(node),
        kernel=kernel,
        work=work,
        chunks=node.shape[2],
        reads=(operands.source.buffer.name,),
        writes=operands.target.buffer.name,
        scratch=scratch,
        macs=node.macs,
        note=note,
    )


def _row_region(builder: PlanBuilder, node: Convolution, base: int) -> Region:
    """Return a region for rows of one image, with zeros at the left and right but not above."""
    region = builder.region(node.name)
    _, _, left, right = region.buffer.border
    _, channels, height, width = node.shape
    is_kept = base == BaseWord.BAND_WINDOW
    numbers = _window_format(region.buffer) if is_kept else region.buffer.format
    buffer = replace(
        region.buffer,
        shape=(1, channels, height, width),
        border=(0, 0, left, right),
        base=base,
        format=numbers,
    )
    return Region(buffer=buffer, channels=channels)


def _window_format(buffer: Buffer) -> Format:
    """Return the format of rows that are kept: depthwise convolutions read each number often."""
    return WIDE_BF16 if buffer.format == BF16 else buffer.format


def _window_floats(depthwise: Convolution, rows_at_once: int, window: Region | None) -> int:
    """Return the room of the rows that are kept, in floats."""
    return _floats_of(window, kept_rows(depthwise, rows_at_once))


def _floats_of(region: Region | None, rows: int) -> int:
    """Return the room of some rows of a region, in floats."""
    if region is None:
        return 0
    return aligned(-(-rows * region.buffer.row_stride // region.buffer.format.per_float))


def _scratch(name: str, floats: int, region: Region | None) -> Place:
    """Return where rows lie, `floats` behind the start of the scratch memory."""
    numbers = region.buffer.format if region else FP32
    return Place(name, BaseWord.SCRATCH, floats * numbers.per_float, numbers)


def _moved(region: Region, base: int) -> Region:
    """Return the same region behind an entry that points to the start of one image."""
    return replace(region, buffer=replace(region.buffer, base=base))


def _start(region: Region) -> Place:
    return Place(region.buffer.name, region.buffer.base, 0, region.buffer.format)


ENTRIES = {
    "source": BaseWord.BAND_SOURCE,
    "residual": BaseWord.BAND_RESIDUAL,
    "target": BaseWord.BAND_TARGET,
}


def _fill_window(code: Code, record: Record, band: Any, first: Any, last: Any) -> None:
    """Compute the rows that outputs `first .. last - 1` read, but for those that are there."""
    b = code.builder
    window, row_floats = record.pointer("window"), record.number("window_row")
    top, stride, reach = record.numbers("window_top", "window_stride", "window_reach")
    start = code.sub(code.mul(first, stride), top)
    stop = code.add(code.sub(code.mul(code.sub(last, 1), stride), top), reach)
    goes_on = b.and_(
        b.and_(
            record.base_is(BaseWord.BAND_OWNER, record.address),
            record.base_is(BaseWord.BAND_NEXT, record.chunk),
        ),
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
    record.set_base(BaseWord.BAND_WINDOW, code.at(window, code.mul(row_floats, code.sub(0, start))))
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
    record.set_base(BaseWord.BAND_OWNER, record.address)
    record.set_base(BaseWord.BAND_NEXT, code.add(record.chunk, 1))


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
