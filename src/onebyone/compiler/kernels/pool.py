"""Pools: tables say which rows and columns each output reduces."""

from dataclasses import dataclass
from typing import Any

import torch

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.numbers import F32
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.rows import (
    PixelWork,
    for_pixels,
    for_vectors,
    grid,
    has_tail,
    pixel_place,
)
from onebyone.compiler.memory.buffers import Place
from onebyone.graph import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolKernel(Kernel):
    """Reduce windows, given as tables of (start, stop, count) for rows and for columns."""

    operator: str
    has_tail: bool

    def write(self, code: Code, record: Record) -> None:
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
            source = code.at(
                record.pointer("source"), code.mul(image, record.number("source_image"))
            )
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
                        if self.operator == "max":
                            return _larger(code, totals, value)
                        return [b.fadd(totals[0], value)]

                    columns = code.sub(right, left)
                    if self.operator == "max":
                        return code.accumulate(columns, totals, window_pixel, name="x")
                    # Short sums, then a sum of sums: each number meets fewer roundings.
                    (line,) = code.accumulate(columns, [code.splat(0.0)], window_pixel, name="x")
                    return [b.fadd(totals[0], line)]

                begin = [code.splat(0.0)]
                if self.operator == "max":
                    begin = [code.splat(float("-inf")), code.no_lanes()]
                total, *is_nan = code.accumulate(code.sub(bottom, top), begin, window_row, name="y")
                if self.operator == "avg":
                    total = b.fdiv(total, code.broadcast(count))
                else:
                    total = b.select(is_nan[0], code.splat(float("nan")), total)
                code.store(total, code.at(target, channel), mask)

            for_vectors(code, self, record, vector)

        for_pixels(code, record, pixel)


def _larger(code: Code, totals: list[Any], value: Any) -> list[Any]:
    """Return the larger numbers, and where there has been one that is none.

    To let NaN through at each step would take twice the instructions.
    """
    b, (total, is_nan) = code.builder, totals
    larger = b.select(b.fcmp_ordered(">", total, value), total, value)
    return [larger, b.or_(is_nan, b.fcmp_unordered("uno", value, value))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWork(PixelWork):
    """Numbers for `PoolKernel`."""

    row_table: Place
    column_table: Place


def lower_pool(builder: PlanBuilder, node: Pool) -> None:
    """Add the operation that reduces windows."""
    source, target = builder.region(node.inputs[0]), builder.region(node.name)
    rows, columns = (
        torch.tensor([(w.start, w.stop, w.count) for w in windows])
        for windows in (node.rows, node.columns)
    )
    work = PoolWork(
        source=source.strided(),
        target=target.strided(),
        row_table=builder.constants.table(rows),
        column_table=builder.constants.table(columns),
        **grid(builder, node, target),
    )
    kernel = PoolKernel(operator=node.operator, has_tail=has_tail(builder, target.channels))
    builder.add(node, kernel, work, chunks=work.chunks, target=target)
