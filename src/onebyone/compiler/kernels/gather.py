"""Nodes that move pixels or channels: tables say where each output comes from."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.rows import (
    PixelWork,
    channel_range,
    for_pixels,
    for_vectors,
    grid,
    has_tail,
    pixel_place,
)
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.memory.placement import is_view
from onebyone.graph import Node, Shuffle, Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherKernel(Kernel):
    """Copy pixels from rows and columns that tables name; channels too where `by_channel`."""

    by_channel: bool
    has_tail: bool

    def write(self, code: Code, record: Record) -> None:
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
            if self.by_channel:
                first, last = channel_range(code, record, record.number("channels"))
                with code.loop(first, last, name="c") as channel:
                    origin = code.load_int32(record.pointer("channel_table"), channel)
                    number = code.load_float(code.at(source, origin))
                    code.store_float(number, code.at(target, channel))
                return

            def vector(channel: Any, mask: Any) -> None:
                code.store(
                    code.load(code.at(source, channel), mask), code.at(target, channel), mask
                )

            for_vectors(code, self, record, vector)

        for_pixels(code, record, pixel)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherWork(PixelWork):
    """Numbers for `GatherKernel`; tables have indices of source rows, columns and channels."""

    row_table: Place
    column_table: Place
    channel_table: Place


def add_gather(
    builder: PlanBuilder,
    node: Node,
    *,
    rows: Tensor,
    columns: Tensor,
    channels: Tensor | None = None,
    note: str,
) -> None:
    """Add the operation that copies the named rows, columns and (if not None) channels."""
    source, target = builder.region(node.inputs[0]), builder.region(node.name)
    table = builder.constants.table
    work = GatherWork(
        source=source.strided(),
        target=target.strided(),
        row_table=table(rows),
        column_table=table(columns),
        channel_table=table(torch.zeros(1) if channels is None else channels),
        **grid(builder, node, target),
    )
    kernel = GatherKernel(
        by_channel=channels is not None, has_tail=has_tail(builder, target.channels)
    )
    builder.add(node, kernel, work, chunks=work.chunks, target=target, note=note)


def lower_slice(builder: PlanBuilder, node: Slice) -> None:
    """Copy what is chosen, if it is not simply a view."""
    if is_view(node):
        builder.writers[node.name] = list(builder.writers[node.inputs[0]])
        builder.views.append((node.name, "channels of its input, where they lie"))
        return
    _, _, rows, columns = builder.graph[node.inputs[0]].shape
    chosen = torch.arange(node.start, node.stop, node.step)
    picked = {2: torch.arange(rows), 3: torch.arange(columns), node.dim: chosen}
    add_gather(
        builder,
        node,
        rows=picked[2],
        columns=picked[3],
        channels=picked.get(1),
        note="copied",
    )


def lower_shuffle(builder: PlanBuilder, node: Shuffle) -> None:
    """Copy channels in their new order."""
    _, channels, rows, columns = node.shape
    add_gather(
        builder,
        node,
        rows=torch.arange(rows),
        columns=torch.arange(columns),
        channels=torch.arange(channels).view(node.groups, -1).t().flatten(),
        note="channels dealt out",
    )
