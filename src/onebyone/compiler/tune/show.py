"""What tuning found, as text: a line for each layer, expected and measured."""

import textwrap
from typing import TYPE_CHECKING

from onebyone.compiler.choose.choices import Choices
from onebyone.graph.words import shorten

if TYPE_CHECKING:
    from onebyone.compiler.tune.tune import TunedLayer, Tuning

PLACE_WIDTH = 30
HEADS = ("layer", "ways", "expected", "measured", "tuned", "how")
LINE_WIDTH = 100


def show_tuning(tuning: "Tuning") -> str:
    """Show a line for each layer, at most 100 columns wide, and what came of it in all."""
    rows = [HEADS, *map(_row, tuning.layers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:5], widths[1:5], strict=True))
        + f"  {row[5]}".rstrip()
        for row in rows
    ]
    head = "Microseconds of all threads together: expected, measured, and of the way that was kept."
    return "\n".join([head, "", *lines, "", *textwrap.wrap(_summary(tuning), LINE_WIDTH)])


def _row(layer: "TunedLayer") -> tuple[str, ...]:
    place, finding = shorten(layer.place, PLACE_WIDTH), layer.finding
    if finding is None:
        return place, "1", f"{layer.expected.seconds * 1e6:.0f}", "", "", _how(layer.chosen)
    times = (finding.expected_seconds, finding.untuned_seconds, finding.seconds)
    microseconds = [f"{seconds * 1e6:.0f}" for seconds in times]
    changed = "" if layer.chosen == layer.expected else f", was {_how(layer.expected)}"
    return place, str(finding.ways), *microseconds, f"{_how(layer.chosen)}{changed}"


def _how(choices: Choices) -> str:
    """Show a tile, and what is inside."""
    assert choices.tile is not None
    return f"{choices.tile.pixels}x{choices.tile.vectors} {choices.inner}"


def _summary(tuning: "Tuning") -> str:
    threads = f"{tuning.threads} thread{'s' if tuning.threads > 1 else ''}"
    if not tuning.measured:
        return f"All that can be measured was known for {threads}."
    return (
        f"{tuning.measured} kinds of layers measured on {threads} in {tuning.seconds:.1f} s; "
        f"{len(tuning.chosen)} layers run in another way; the whole is {tuning.gain:.3f} times as "
        "fast."
    )
