"""One call on several threads: who did what from when to when, as it was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import torch

from onebyone.compiler import CompiledModel, compile_model
from onebyone.compiler.profile import LayerTime
from onebyone.compiler.target import Target

from .charts import coloured, data_of, to_svg
from .drawing import DENSE, DEPTHWISE, OTHER, POINTWISE, ROWS
from .kinds import kind_drawn


@dataclass(frozen=True, slots=True)
class Span:
    """A thread's part of an operation.

    Args:
        group: Its group, from 1.
        place: What it computes.
        kind: A word of `KINDS`.
        thread: Who.
        start: Seconds since the call's first chunk.
        end: Likewise.
    """

    group: int
    place: str
    kind: str
    thread: int
    start: float
    end: float


KINDS = {
    "1x1 convolution alone": POINTWISE,
    "by rows": ROWS,
    "depthwise alone": DEPTHWISE,
    "other convolution or linear": DENSE,
    "input, pool or zeros": OTHER,
}
"""What a thread does, and its colour."""


def measure_spans(
    model: torch.nn.Module, example: torch.Tensor, target: Target, *, threads: int, calls: int
) -> tuple[Span, ...]:
    """Compile a network, call it, and return the spans of the fastest call.

    Raises:
        CompileError: If this processor cannot run the target's code.
    """
    fast = compile_model(model, example, target=target, threads=threads, keep=False)
    return min((_spans(fast, example) for _ in range(calls)), key=call_seconds)


def _spans(fast: CompiledModel, example: torch.Tensor) -> tuple[Span, ...]:
    times = fast.profile(example, rounds=1).last_run
    begin = min(start for time in times for _, start, _, _ in time.spans)
    return tuple(span for time in times for span in _of_layer(time, begin))


def _of_layer(time: LayerTime, begin: float) -> list[Span]:
    layer = time.layer
    return [
        Span(layer.group + 1, layer.place, _kind(layer.kind), thread, start - begin, end - begin)
        for thread, start, end, _ in time.spans
    ]


def call_seconds(spans: Sequence[Span]) -> float:
    """Return the time from the first chunk's start to the last one's end."""
    return max(span.end for span in spans)


def _kind(kind: str) -> str:
    if kind == "by rows":
        return kind
    drawn = kind_drawn(kind)
    if drawn in {"1x1 convolution", "depthwise"}:
        return f"{drawn} alone"
    return drawn if drawn in KINDS else "input, pool or zeros"


LINES = 3
"""A call is drawn as so many lines, one below the other."""


def draw_threads(spans: Sequence[Span], name: str) -> str:
    """Draw a row for each thread, cut into lines of the same time."""
    length = call_seconds(spans) / LINES
    threads = 1 + max(span.thread for span in spans)
    panels: list[Any] = [
        _panel(
            _cut(spans, line * length, (line + 1) * length),
            moments=(line * length, (line + 1) * length),
            title="microseconds" if line == LINES - 1 else None,
        )
        for line in range(LINES)
    ]
    title = alt.TitleParams(
        f"One call of {name} on {threads} threads: {call_seconds(spans) * 1e3:.1f} ms",
        subtitle=[
            "Numbers are groups. White between two groups is waiting: for the other thread's last "
            "chunk, and for the start of the next group."
        ],
    )
    return to_svg(alt.vconcat(*panels, spacing=14).properties(title=title))


def _cut(spans: Sequence[Span], begin: float, end: float) -> list[dict[str, Any]]:
    """Return what of the spans lies between two moments, as rows of a chart."""
    rows: list[dict[str, Any]] = []
    for span in spans:
        start, stop = max(span.start, begin), min(span.end, end)
        if start < stop:
            is_wide = stop - start > (end - begin) / 45
            rows.append(
                {
                    "thread": f"thread {span.thread}",
                    "kind": span.kind,
                    "start": start * 1e6,
                    "end": stop * 1e6,
                    "middle": (start + stop) * 5e5,
                    "label": str(span.group) if is_wide else "",
                }
            )
    return rows


def _panel(rows: list[dict[str, Any]], *, moments: tuple[float, float], title: str | None) -> Any:
    scale = alt.Scale(domain=[1e6 * one for one in moments], nice=False)
    axis = alt.Axis(grid=False, tickCount=8, title=title)
    y = alt.Y("thread:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=8))
    base = alt.Chart(data_of(rows))
    bars = base.mark_bar(height=30, opacity=0.85).encode(
        x=alt.X("start:Q", scale=scale, axis=axis), x2="end:Q", y=y, color=coloured(KINDS)
    )
    labels = base.mark_text(color="white", fontSize=12, fontWeight=600).encode(
        x=alt.X("middle:Q", scale=scale), y=y, text="label:N"
    )
    return (bars + labels).properties(width=780, height=76)
