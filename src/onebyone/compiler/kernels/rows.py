"""Kernels that go row by row through an image, channels in vectors.

Each is written as what it does for one vector of one output pixel (or for one whole pixel); the
loops around that, and how a chunk is cut out of them, are the same for all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.memory.buffers import Region, Strided
from onebyone.graph import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWork(Work):
    """Stand at the root of work that goes through its target row by row.

    The rows of all images are cut into `row_parts`, and each part's channels into `channel_parts`;
    every such piece is a chunk.
    """

    target: Strided
    channels: int
    rows: int
    images: int
    row_parts: int
    channel_parts: int

    @property
    def chunks(self) -> int:
        """Pieces that may run at the same time."""
        return self.row_parts * self.channel_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelWork(RowWork):
    """Stand at the root of work that makes each pixel of the target from some of one source."""

    source: Strided
    columns: int


def grid(builder: PlanBuilder, node: Node, region: Region) -> dict[str, int]:
    """Return the loops of a `RowWork` over a region, cut as is chosen for a node."""
    images, channels, rows, columns = region.shape
    row_parts, channel_parts = builder.choices[node.name].parts
    return {
        "channels": channels,
        "columns": columns,
        "rows": rows,
        "images": images,
        "row_parts": min(row_parts, images * rows),
        "channel_parts": min(channel_parts, -(-channels // builder.target.lanes)),
    }


def has_tail(builder: PlanBuilder, channels: int) -> bool:
    """Whether the last vector of channels is not full."""
    return channels % builder.target.lanes != 0


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


def channel_range(code: Code, record: Record, channels: Any) -> tuple[Any, Any]:
    """Return the channels of a chunk: cut between whole vectors."""
    part = code.rem(record.chunk, record.number("channel_parts"))
    vectors = code.div(code.add(channels, code.lanes - 1), code.lanes)
    first, last = code.part(part, record.number("channel_parts"), vectors)
    return code.mul(first, code.lanes), code.minimum(code.mul(last, code.lanes), channels)
