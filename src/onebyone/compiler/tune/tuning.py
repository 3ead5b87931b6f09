"""What tuning found: data, and the table that a person reads."""

import textwrap
from dataclasses import dataclass

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.tune.wisdom import Finding
from onebyone.graph.words import shorten

PLACE_WIDTH = 30
HEADS = ("layer", "ways", "expected", "measured", "tuned", "how")
LINE_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedLayer:
    """What tuning says of one layer.

    Args:
        name: Of its node.
        place: Module that it came from, or the name.
        expected: How the cost model would run it.
        chosen: How it runs.
        finding: What was measured, now or before; None if there is one way only, or no time.
    """

    name: str
    place: str
    expected: Choices
    chosen: Choices
    finding: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What tuning found, for all native parts of a network; `print` it for a table.

    Args:
        layers: Convolutions that run alone, in order.
        threads: Threads that it was measured with.
        measured: How many kinds of layers were measured now, and not known before.
        seconds: How long tuning took.
        gain: The untuned network's time over the tuned one's, median of turns; 1.0 where they are
            the same, or nothing was measured.
    """

    layers: tuple[TunedLayer, ...]
    threads: int
    measured: int
    seconds: float
    gain: float

    @property
    def chosen(self) -> dict[str, Choices]:
        """How layers run that do not run as the cost model would have it."""
        return {one.name: one.chosen for one in self.layers if one.chosen != one.expected}

    def __str__(self) -> str:
        """Show a line for each layer: expected, measured, and how it runs."""
        rows = [HEADS, *map(_row, self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{row[0]:<{widths[0]}}  "
            + "  ".join(
                f"{cell:>{width}}" for cell, width in zip(row[1:5], widths[1:5], strict=True)
            )
            + f"  {row[5]}".rstrip()
            for row in rows
        ]
        head = "Microseconds of all threads: expected, measured, and of the way that was kept."
        return "\n".join([head, "", *lines, "", *textwrap.wrap(_summary(self), LINE_WIDTH)])


def _row(layer: TunedLayer) -> tuple[str, ...]:
    place, finding = shorten(layer.place, PLACE_WIDTH), layer.finding
    if finding is None:
        return place, "1", f"{layer.expected.seconds * 1e6:.0f}", "", "", _how(layer.chosen)
    times = (finding.expected_seconds, finding.untuned_seconds, finding.seconds)
    microseconds = [f"{seconds * 1e6:.0f}" for seconds in times]
    changed = "" if layer.chosen == layer.expected else f", was {_how(layer.expected)}"
    return place, str(finding.ways), *microseconds, f"{_how(layer.chosen)}{changed}"


def _how(choices: Choices) -> str:
    """Show a tile, what is inside, and what threads share out."""
    assert choices.tile is not None
    return f"{choices.tile.pixels}x{choices.tile.vectors} {choices.inner[0]}/{choices.shared[0]}"


def _summary(tuning: Tuning) -> str:
    threads = f"{tuning.threads} thread{'s' if tuning.threads > 1 else ''}"
    if not tuning.measured:
        return f"All that can be measured was known for {threads}."
    return (
        f"{tuning.measured} kinds of layers measured on {threads} in {tuning.seconds:.1f} s; "
        f"{len(tuning.chosen)} layers run in another way; the whole is {tuning.gain:.3f} times as "
        "fast."
    )
