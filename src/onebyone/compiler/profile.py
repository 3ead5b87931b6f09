"""Where the time of a compiled network goes."""

import json
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from onebyone.compiler.account import Layer
from onebyone.files import replacing
from onebyone.graph.words import GAP, shorten

NAME_WIDTH = 40
LINE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One operation in one run.

    Args:
        layer: What it is.
        spans: For each thread that had a part in it: thread, start and end in seconds, time busy.
    """

    layer: Layer
    spans: tuple[tuple[int, float, float, float], ...]

    @property
    def seconds(self) -> float:
        """Time of all threads together."""
        return sum(busy for _, _, _, busy in self.spans)


def read_timings(layers: Sequence[Layer], timings: Tensor) -> list[LayerTime]:
    """Turn the nanoseconds that native code has noted into times of layers."""
    found = []
    for layer, rows in zip(layers, timings.tolist(), strict=True):
        spans = tuple(
            (thread, start * 1e-9, end * 1e-9, busy * 1e-9)
            for thread, (start, end, busy) in enumerate(rows)
            if end
        )
        found.append(LayerTime(layer, spans))
    return found


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """One operation over all runs.

    Args:
        layer: What it is, and how it is done.
        seconds: Median time of all threads together.
        share: Part of the whole network's time.
    """

    layer: Layer
    seconds: float
    share: float

    @property
    def gflops_per_second(self) -> float:
        """Billions of additions and multiplications in a second of one core."""
        return 2e-9 * self.layer.macs / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Times of all operations; `print` it for a table."""

    layers: tuple[LayerProfile, ...]
    threads: int
    last_run: tuple[LayerTime, ...]

    @staticmethod
    def of(runs: Sequence[Sequence[LayerTime]], threads: int) -> "Profile":
        """Join several runs of the same network."""
        medians = [
            statistics.median(time.seconds for time in times) for times in zip(*runs, strict=True)
        ]
        total = sum(medians) or 1.0
        layers = tuple(
            LayerProfile(time.layer, seconds, seconds / total)
            for time, seconds in zip(runs[-1], medians, strict=True)
        )
        return Profile(layers, threads, tuple(runs[-1]))

    @property
    def core_seconds(self) -> float:
        """Time of all threads in all operations, without what they waited."""
        return sum(layer.seconds for layer in self.layers)

    def __str__(self) -> str:
        """Show a line for each operation, at most 100 columns wide."""
        names = [shorten(row.layer.place, NAME_WIDTH) for row in self.layers]
        width = max(map(len, ["layer", *names]))
        head = f"{'layer':<{width}} {'core us':>8} {'share':>6} {'GFLOP/s':>8}  how"
        lines = [head]
        room = LINE_WIDTH - head.index("how")
        for name, row in zip(names, self.layers, strict=True):
            rate = f"{row.gflops_per_second:8.1f}" if row.layer.macs else " " * 8
            how = ": ".join(filter(None, (row.layer.kind, row.layer.note)))
            how = textwrap.shorten(how, room, placeholder=f" {GAP}")
            lines.append(f"{name:<{width}} {row.seconds * 1e6:8.0f} {row.share:6.1%} {rate}  {how}")
        lines.append(f"{self.core_seconds * 1e3:.2f} ms of core time, on {self.threads} threads")
        return "\n".join(lines)

    def to_chrome_trace(self, path: str | Path) -> None:
        """Write the last run for a trace viewer (chrome://tracing, Perfetto): one row a thread."""
        begin = min((start for time in self.last_run for _, start, _, _ in time.spans), default=0.0)
        events = [
            {
                "name": time.layer.place,
                "cat": time.layer.kind,
                "ph": "X",
                "ts": (start - begin) * 1e6,
                "dur": (end - start) * 1e6,
                "pid": 0,
                "tid": thread,
                "args": {"note": time.layer.note, "macs": time.layer.macs, "busy_us": busy * 1e6},
            }
            for time in self.last_run
            for thread, start, end, busy in time.spans
        ]
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))
