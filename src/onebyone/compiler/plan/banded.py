"""How convolutions run together: the values between them lie in the thread's scratch memory."""

from dataclasses import replace

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.bands import Band, kept_rows, reached_rows
from onebyone.compiler.plan.buffers import (
    BAND_RESIDUAL,
    BAND_ROW,
    BAND_SOURCE,
    BAND_TARGET,
    BAND_WINDOW,
    SCRATCH,
    Place,
    Region,
)
from onebyone.compiler.plan.dense import plan_dense_rows
from onebyone.compiler.plan.depthwise import plan_depthwise_rows
from onebyone.compiler.plan.lowering import Lowering
from onebyone.compiler.plan.memory import aligned
from onebyone.compiler.plan.operands import Operands, operands_of
from onebyone.graph import Convolution


def lower_band(lowering: Lowering, band: Band) -> None:
    """Add the operation that runs the convolutions of a band; its name is that of the last."""
    first, last = band.nodes[0], band.nodes[-1]
    outer = Operands(
        operands_of(lowering, first).source,
        operands_of(lowering, last).residual,
        operands_of(lowering, last).target,
    )
    window = _row_region(lowering, band.head, BAND_WINDOW) if band.head else None
    row = _row_region(lowering, band.depthwise, BAND_ROW) if band.tail else None
    stages = _stages(lowering, band, outer, window, row)
    window_size = _window_size(band, window)
    depthwise = band.depthwise
    top, _, left, right = (
        (depthwise.padding[0], 0, *window.buffer.border[2:]) if window else (0, 0, 0, 0)
    )
    pixel = window.buffer.pixel_stride if window else 0
    work = ops.BandWork(
        source=_start(outer.source),
        residual=_start(outer.other),
        target=_start(outer.target),
        window=Place("window", SCRATCH),
        row=Place("row", SCRATCH, window_size),
        source_image=outer.source.buffer.image_stride,
        residual_image=outer.other.buffer.image_stride,
        target_image=outer.target.buffer.image_stride,
        rows=last.shape[2],
        bands=band.bands,
        rows_at_once=band.rows_at_once,
        window_rows=band.head.shape[2] if band.head else 0,
        window_stride=depthwise.stride[0],
        window_top=top,
        window_reach=reached_rows(depthwise),
        window_row=window.buffer.row_stride if window else 0,
        window_left=left * pixel,
        window_right=right * pixel,
        row_row=row.buffer.row_stride if row else 0,
    )
    lowering.emit(
        last,
        ops.BandKernel(stages=len(stages), has_window=band.head is not None),
        work,
        chunks=last.shape[0] * band.bands,
        target=outer.target,
        sources=(first.inputs[0], *last.inputs[1:]),
        stages=stages,
        scratch=window_size + work.row_row,
        macs=sum(node.macs for node in band.nodes),
        note=f"{band.bands} bands",
    )


def _stages(
    lowering: Lowering, band: Band, outer: Operands, window: Region | None, row: Region | None
) -> tuple[ops.Operation, ...]:
    source = _moved(outer.source, BAND_SOURCE)
    target = _moved(outer.target, BAND_TARGET)
    stages: list[ops.Operation] = []
    if band.head and window:
        stages.append(_stage(lowering, band.head, Operands(source, None, window)))
    stages.append(_stage(lowering, band.depthwise, Operands(window or source, None, row or target)))
    if band.tail and row:
        residual = outer.residual and _moved(outer.residual, BAND_RESIDUAL)
        stages.append(_stage(lowering, band.tail, Operands(row, residual, target)))
    return tuple(stages)


def _stage(lowering: Lowering, node: Convolution, operands: Operands) -> ops.Operation:
    plan_rows = plan_depthwise_rows if node.is_channelwise else plan_dense_rows
    kernel, work, note = plan_rows(lowering, node, operands)
    return ops.Operation(
        name=node.name,
        path=node.path,
        kernel=kernel,
        work=work,
        chunks=node.shape[2],
        reads=(operands.source.buffer.name,),
        writes=operands.target.buffer.name,
        macs=node.macs,
        note=note,
    )


def _row_region(lowering: Lowering, node: Convolution, base: int) -> Region:
    """Return a region for rows of one image, with zeros at the left and right but not above."""
    region = lowering.region(node.name)
    _, _, left, right = region.buffer.border
    _, channels, height, width = node.shape
    buffer = replace(
        region.buffer, shape=(1, channels, height, width), border=(0, 0, left, right), base=base
    )
    return Region(buffer=buffer, channels=channels)


def _window_size(band: Band, window: Region | None) -> int:
    """Return the floats of the rows that are kept."""
    if window is None:
        return 0
    return aligned(kept_rows(band.depthwise, band.rows_at_once) * window.buffer.row_stride)


def _moved(region: Region, base: int) -> Region:
    """Return the same region behind an entry that points to the start of one image."""
    return replace(region, buffer=replace(region.buffer, base=base))


def _start(region: Region) -> Place:
    return Place(region.buffer.name, region.buffer.base)
