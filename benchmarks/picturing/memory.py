"""The memory of one call: which value lies where, and from when to when."""

from dataclasses import dataclass
from typing import Any

import altair as alt

from onebyone.compiler.kernels.kernel import Operation

from .charts import coloured, data_of, to_svg
from .drawing import DEPTHWISE, INK, OTHER, PAPER, POINTWISE, ROWS
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Value:
    """A buffer of the arena.

    Args:
        name: Of the node whose value it holds.
        kind: Who writes it, a word of `KINDS`.
        first: Group that writes it, from 1.
        last: Last group that reads it.
        start: Byte of the arena.
        stop: Byte behind it.
    """

    name: str
    kind: str
    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The arena of a call.

    Args:
        values: Its buffers.
        arena_bytes: Its size.
        groups: How many groups there are.
    """

    values: tuple[Value, ...]
    arena_bytes: int
    groups: int

    @property
    def total_bytes(self) -> int:
        """What all values take together, if none shares memory with another."""
        return sum(value.stop - value.start for value in self.values)


KINDS = {
    "1x1 convolution alone": POINTWISE,
    "by rows": ROWS,
    "depthwise alone": DEPTHWISE,
    "input, pool or other": OTHER,
}
"""Who writes a value, and its colour."""


def memory_of(subject: Subject) -> Memory:
    """Read where the values of a plan lie."""
    plan = subject.plan
    writers: dict[str, Operation] = {}
    for operation in plan.operations:
        writers.setdefault(operation.writes, operation)
    values = tuple(
        Value(
            name=life.name,
            kind=_kind(writers[life.name]),
            first=life.first + 1,
            last=life.last + 1,
            start=4 * plan.arena_offsets[life.name],
            stop=4 * (plan.arena_offsets[life.name] + life.size),
        )
        for life in plan.lifetimes
    )
    return Memory(values, 4 * plan.arena_size, len(plan.groups))


def _kind(writer: Operation) -> str:
    if writer.stages:
        return "by rows"
    if writer.what in {"1x1 convolution", "3x3 depthwise"}:
        return f"{writer.what.removeprefix('3x3 ')} alone"
    return "input, pool or other"


def draw_memory(memory: Memory) -> str:
    """Draw a rectangle for each value: groups to the right, addresses upwards."""
    rows = [
        {
            "name": value.name,
            "kind": value.kind,
            "x": value.first - 0.5 + 0.04,
            "x2": value.last + 0.5 - 0.04,
            "y": value.start / 1e6,
            "y2": value.stop / 1e6,
            "middle": (value.first + value.last) / 2,
            "high": (value.start + value.stop) / 2e6,
            "label": _label(value),
        }
        for value in memory.values
    ]
    title = alt.TitleParams(
        "The memory of one call",
        subtitle=[
            f"All values together are {memory.total_bytes / 1e6:.1f} MB; the arena has "
            f"{memory.arena_bytes / 1e6:.1f} MB. A value that nobody reads any more makes room.",
        ],
    )
    scale = alt.Scale(domain=[0.5, memory.groups + 0.5], nice=False)
    axis = alt.Axis(values=list(range(2, memory.groups + 1, 2)), grid=False, tickSize=4)
    x = alt.X("x:Q", scale=scale, axis=axis, title="group, in the order of running")
    y = alt.Y("y:Q", title="address in the arena, MB", scale=alt.Scale(nice=False, padding=4))
    base = alt.Chart(data_of(rows))
    boxes = base.mark_rect(stroke=PAPER, strokeWidth=1, opacity=0.6).encode(
        x=x, x2="x2:Q", y=y, y2="y2:Q", color=coloured(KINDS)
    )
    labels = base.mark_text(angle=270, fontSize=11, color=INK).encode(
        x=alt.X("middle:Q", scale=scale), y="high:Q", text="label:N"
    )
    chart: Any = (boxes + labels).properties(width=800, height=420, title=title)
    return to_svg(chart)


SMALLEST_LABELLED_BYTES = 290_000


def _label(value: Value) -> str:
    """Return the value's name where there is room for it."""
    is_high = value.stop - value.start >= SMALLEST_LABELLED_BYTES
    return value.name.removeprefix("blocks.") if is_high else ""
