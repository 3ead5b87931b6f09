"""Enlarged images: the nearest pixel, or the mean of four, at PyTorch's positions (in float32)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.gather import add_gather
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
from onebyone.graph import Shape, Upsample


@dataclass(frozen=True, slots=True, kw_only=True)
class BilinearKernel(Kernel):
    """Interpolate between two rows and two columns."""

    has_tail: bool

    def write(self, code: Code, record: Record) -> None:
        """Write the mean of four pixels, weighted by nearness: columns first, then rows."""
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

            for_vectors(code, self, record, vector)

        for_pixels(code, record, pixel)


@dataclass(frozen=True, slots=True, kw_only=True)
class BilinearWork(PixelWork):
    """Numbers for `BilinearKernel`; tables hold two indices, weights a float32 for the second."""

    row_table: Place
    column_table: Place
    row_weights: Place
    column_weights: Place


def lower_upsample(builder: PlanBuilder, node: Upsample) -> None:
    """Copy the nearest pixels, or mix four."""
    source, target = builder.region(node.inputs[0]), builder.region(node.name)
    if node.mode == "nearest":
        rows, columns = (nearest_table(node, source.shape, axis) for axis in (0, 1))
        add_gather(builder, node, rows=rows, columns=columns, note="nearest")
        return
    (rows, down), (columns, across) = (bilinear_table(node, source.shape, axis) for axis in (0, 1))
    constants = builder.constants
    work = BilinearWork(
        source=source.strided(),
        target=target.strided(),
        row_table=constants.table(rows),
        column_table=constants.table(columns),
        row_weights=constants.shared(down),
        column_weights=constants.shared(across),
        **grid(builder, node, target),
    )
    kernel = BilinearKernel(has_tail=has_tail(builder, target.channels))
    builder.add(node, kernel, work, chunks=work.chunks, target=target, note="bilinear")


def nearest_table(node: Upsample, source: Shape, axis: int) -> Tensor:
    """Return the input row (axis 0) or column (axis 1) of each output one."""
    size, target = source[2 + axis], node.shape[2 + axis]
    if target in (size, 2 * size):  # where PyTorch does not look at the user's factor
        return torch.arange(target) // (target // size)
    position = torch.arange(target, dtype=torch.float32) * _scale(node, size, target, axis)
    return position.floor().long().clamp(max=size - 1)


def bilinear_table(node: Upsample, source: Shape, axis: int) -> tuple[Tensor, Tensor]:
    """Return two input rows (or columns) for each output one, and the weight of the second."""
    size, target = source[2 + axis], node.shape[2 + axis]
    index = torch.arange(target, dtype=torch.float32)
    if target == size:  # where PyTorch does not look at the user's factor
        position = index
    elif node.align_corners:
        position = index * ((size - 1) / (target - 1) if target > 1 else 0.0)
    else:
        scale = _scale(node, size, target, axis)
        position = ((index + 0.5) * scale - 0.5).clamp(min=0.0)
    near = position.long().clamp(max=size - 1)
    # Where no size changes, PyTorch mixes each pixel with itself; none meets its neighbour's NaN.
    far = near if target == size else (near + 1).clamp(max=size - 1)
    return torch.stack([near, far], 1), (position - near).clamp(max=1.0)


def _scale(node: Upsample, size: int, target: int, axis: int) -> float:
    """Input pixels per output pixel: from the user's factor where there is one."""
    return 1.0 / node.scale[axis] if node.scale else size / target
