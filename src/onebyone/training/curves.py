"""A run's curves as pictures."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onebyone.files import replacing
from onebyone.packages import is_installed
from onebyone.training.metrics import EpochRow
from onebyone.training.state import writing

_LOG = logging.getLogger(__name__)
_PACKAGES = ("altair", "vl_convert")
_COLOURS = ["#c2571a", "#1f5fa8"]
_SCALE = 2
"""Pixels of the PNG for one of the SVG, so that it is sharp on fine screens."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: a quantity in training and in the test.

    Attributes:
        title: What it shows.
        train: Name of the field of an `EpochRow`.
        test: Likewise.
        format: How numbers on the axis are written.
    """

    title: str
    train: str
    test: str
    format: str


PANELS = (
    Panel("loss (nats)", "train_loss", "test_loss", "~g"),
    Panel("accuracy", "train_accuracy", "test_accuracy", "~%"),
)


def draw_curves(epochs: Sequence[EpochRow], folder: Path) -> None:
    """Write `curves.svg` and `curves.png`: loss and accuracy by epoch, in training and test.

    Without altair and vl-convert nothing is drawn, and a notice says so: a training does not fail
    at its end for a picture.

    Raises:
        TrainingError: If a file cannot be written.
    """
    if not epochs:
        return
    if not all(map(is_installed, _PACKAGES)):
        _LOG.info("no curves are drawn without altair and vl-convert: pip install 'onebyone[html]'")
        return
    import vl_convert

    chart = make_chart(epochs).to_dict()
    svg = vl_convert.vegalite_to_svg(chart)
    png = vl_convert.vegalite_to_png(chart, scale=_SCALE)
    for name, content in (("curves.svg", svg.encode()), ("curves.png", png)):
        path = folder / name
        with writing(path), replacing(path) as temporary:
            temporary.write_bytes(content)


def make_chart(epochs: Sequence[EpochRow]) -> Any:
    """Return the panels side by side, as an altair chart."""
    import altair as alt

    charts = [_panel(panel, epochs) for panel in PANELS]
    return alt.hconcat(*charts).configure_view(stroke=None).configure_axis(grid=True)


def _panel(panel: Panel, epochs: Sequence[EpochRow]) -> Any:
    import altair as alt

    points = [
        {"epoch": row.epoch, "value": getattr(row, field), "on": on}
        for row in epochs
        for on, field in (("training", panel.train), ("test", panel.test))
    ]
    colour = alt.Scale(domain=["training", "test"], range=_COLOURS)
    return (
        alt.Chart(alt.Data(values=points), title=panel.title, width=340, height=240)
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=_ticks(len(epochs)))),
            y=alt.Y(
                "value:Q",
                title=None,
                scale=alt.Scale(zero=False),
                axis=alt.Axis(format=panel.format),
            ),
            color=alt.Color("on:N", title=None, scale=colour),
        )
    )


def _ticks(epochs: int) -> list[int]:
    """Return the epochs that the axis names: some ten of them."""
    return list(range(1, epochs + 1, max(epochs // 10, 1)))
