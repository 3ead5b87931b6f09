"""How nodes that move or reduce pixels run: tables say which rows and columns each output reads."""

from math import prod

import torch
from torch import Tensor

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.elementwise import emit_copy
from onebyone.compiler.plan.lowering import (
    Lowering,
    fill_work,
    grid,
    has_tail,
    strides,
)
from onebyone.compiler.plan.placement import is_view
from onebyone.compiler.plan.resample import bilinear_table, nearest_table
from onebyone.graph import Node, Pad, Pool, Shuffle, Slice, Upsample

SCATTERED_WEIGHT = 8
"""How much longer it takes to fetch channels one by one than as vectors, about."""


def _emit_gather(
    lowering: Lowering,
    node: Node,
    *,
    rows: Tensor,
    columns: Tensor,
    channels: Tensor | None = None,
    note: str,
) -> None:
    """Add the operation that copies the named rows, columns and (if not None) channels."""
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    weight = 1 if channels is None else SCATTERED_WEIGHT
    loops = grid(lowering, target, prod(target.shape) * weight)
    table = lowering.constants.table
    work = ops.GatherWork(
        source=source.place(),
        target=target.place(),
        row_table=table(rows),
        column_table=table(columns),
        channel_table=table(torch.zeros(1) if channels is None else channels),
        **strides(source, "source"),
        **strides(target, "target"),
        **loops,
    )
    kernel = ops.GatherKernel(
        by_channel=channels is not None, has_tail=has_tail(lowering, target.channels)
    )
    lowering.emit(node, kernel, work, chunks=work.chunks, target=target, note=note)


def lower_slice(lowering: Lowering, node: Slice) -> None:
    """Copy what is chosen, if it is not simply a view."""
    if is_view(node):
        lowering.writers[node.name] = list(lowering.writers[node.inputs[0]])
        lowering.views.append((node.name, "channels of its input, where they lie"))
        return
    _, _, rows, columns = lowering.graph[node.inputs[0]].shape
    chosen = torch.arange(node.start, node.stop, node.step)
    picked = {2: torch.arange(rows), 3: torch.arange(columns), node.dim: chosen}
    _emit_gather(
        lowering,
        node,
        rows=picked[2],
        columns=picked[3],
        channels=picked.get(1),
        note="copied",
    )


def lower_shuffle(lowering: Lowering, node: Shuffle) -> None:
    """Copy channels in their new order."""
    _, channels, rows, columns = node.shape
    _emit_gather(
        lowering,
        node,
        rows=torch.arange(rows),
        columns=torch.arange(columns),
        channels=torch.arange(channels).view(node.groups, -1).t().flatten(),
        note="channels dealt out",
    )


def lower_upsample(lowering: Lowering, node: Upsample) -> None:
    """Copy the nearest pixels, or mix four."""
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    if node.mode == "nearest":
        rows, columns = (nearest_table(node, source.shape, axis) for axis in (0, 1))
        _emit_gather(lowering, node, rows=rows, columns=columns, note="nearest")
        return
    (rows, down), (columns, across) = (bilinear_table(node, source.shape, axis) for axis in (0, 1))
    loops = grid(lowering, target, prod(target.shape) * 4)  # two mixes of rows, one of both
    constants = lowering.constants
    work = ops.BilinearWork(
        source=source.place(),
        target=target.place(),
        row_table=constants.table(rows),
        column_table=constants.table(columns),
        row_weights=constants.shared(down),
        column_weights=constants.shared(across),
        **strides(source, "source"),
        **strides(target, "target"),
        **loops,
    )
    kernel = ops.BilinearKernel(has_tail=has_tail(lowering, target.channels))
    lowering.emit(node, kernel, work, chunks=work.chunks, target=target, note="bilinear")


def lower_pad(lowering: Lowering, node: Pad) -> None:
    """Fill the frame and copy the image into its middle; the buffer is the node's own."""
    target = lowering.region(node.name)
    top, _, left, _ = node.padding
    source = lowering.graph[node.inputs[0]]
    emit_copy(lowering, node, source.name, target, row=top, column=left)
    if any(node.padding):
        lowering.emit(
            node,
            ops.FillKernel(value=node.value),
            fill_work(lowering, target.cropped(node.padding), node.padding),
            chunks=target.shape[0],
            target=target,
            note=f"filled with {node.value:g}",
        )


def lower_pool(lowering: Lowering, node: Pool) -> None:
    """Add the operation that reduces windows."""
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    height, width = (max(w.stop - w.start for w in some) for some in (node.rows, node.columns))
    loops = grid(lowering, target, prod(target.shape) * height * width)
    rows, columns = (
        torch.tensor([(w.start, w.stop, w.count) for w in windows])
        for windows in (node.rows, node.columns)
    )
    work = ops.PoolWork(
        source=source.place(),
        target=target.place(),
        row_table=lowering.constants.table(rows),
        column_table=lowering.constants.table(columns),
        **strides(source, "source"),
        **strides(target, "target"),
        **loops,
    )
    kernel = ops.PoolKernel(operator=node.operator, has_tail=has_tail(lowering, target.channels))
    lowering.emit(node, kernel, work, chunks=work.chunks, target=target)
