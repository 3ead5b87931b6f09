"""A study's picture: means over the seeds with their 95 % intervals."""

# pyright: reportUnknownVariableType=false
# Altair's methods are made when it is imported, and type checkers cannot see through all of them.

from collections.abc import Sequence
from typing import Any

from onebyone.studies.outcome import StudyResult
from onebyone.studies.study import Panel, Quantity, Series

COLOURS = ("#cf4f12", "#1564b2", "#2f7d3b", "#86827a", "#8a3f9e", "#0b6470", "#b08a00", "#1d1c1a")
"""Of the series of a panel, in turn: dark enough on white, and told apart by the colour-blind in
the order in which they come."""

WIDTH, HEIGHT, ROW, COLUMNS = 340, 260, 24, 2
SCALE = 2
"""Pixels of the PNG for one of the SVG, so that it is sharp on fine screens."""

_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
    "legend": {"labelFontSize": 12, "labelLimit": 400, "orient": "bottom", "columns": 2},
    "title": {"fontSize": 13, "fontWeight": "normal", "anchor": "start"},
}


def draw(result: StudyResult) -> tuple[str, bytes]:
    """Return the picture as SVG and as PNG."""
    import altair as alt
    import vl_convert

    panels = [_panel(result, panel) for panel in result.study.panels]
    chart = alt.concat(*panels, columns=COLUMNS, spacing=30)
    chart = chart.resolve_scale(color="independent").to_dict()
    chart["config"] = _CONFIG
    return vl_convert.vegalite_to_svg(chart), vl_convert.vegalite_to_png(chart, scale=SCALE)


def _panel(result: StudyResult, panel: Panel) -> Any:
    import altair as alt

    series = panel.series or (
        Series(label="", conditions=tuple(a.name for a in result.study.arms)),
    )
    points = [
        _point(result, panel, one, condition)
        for one in series
        for condition in one.conditions
        if condition != panel.base
    ]
    base = alt.Chart(alt.Data(values=points)).encode(color=_colour(series))
    draw_points = _dots if panel.x is None else _curves
    return draw_points(base, result, panel, points).properties(title=panel.title, width=WIDTH)


def _point(result: StudyResult, panel: Panel, series: Series, condition: str) -> dict[str, Any]:
    quantity = result.study.quantity(panel.y)
    shown = result.drawn(panel, condition)
    point: dict[str, Any] = {
        "series": series.label,
        "condition": result.conditions[condition].label,
        "mean": quantity.scale * shown.mean,
        "low": quantity.scale * shown.low,
        "high": quantity.scale * shown.high,
    }
    if panel.x:
        point["x"] = result.study.quantity(panel.x).scale * result.along(condition, panel.x)
    return point


def _colour(series: Sequence[Series]) -> Any:
    import altair as alt

    labels = [one.label for one in series]
    legend = alt.Legend(title=None) if len(labels) > 1 else None
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(labels))]
    return alt.Color("series:N", legend=legend, scale=alt.Scale(domain=labels, range=colours))


def _curves(base: Any, result: StudyResult, panel: Panel, points: Sequence[dict[str, Any]]) -> Any:
    """Draw a quantity against another one."""
    import altair as alt

    assert panel.x is not None
    along = result.study.quantity(panel.x)
    x = alt.X(
        "x:Q",
        title=along.label,
        scale=alt.Scale(
            type="log" if panel.is_log else "linear", zero=False, nice=False, padding=20
        ),
        axis=alt.Axis(values=sorted({point["x"] for point in points}), format=".3~g")
        if panel.is_log
        else alt.Axis(),
    )
    y = alt.Y("mean:Q", title=_label(result, panel), scale=alt.Scale(zero=False))
    lines = base.mark_line(strokeWidth=1.5).encode(x=x, y=y)
    intervals = base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y)
    return alt.layer(lines, intervals, dots).properties(height=HEIGHT)


def _dots(base: Any, result: StudyResult, panel: Panel, points: Sequence[dict[str, Any]]) -> Any:
    """Draw a line for each condition, one under the other."""
    import altair as alt

    labels = list(dict.fromkeys(point["condition"] for point in points))
    y = alt.Y(
        "condition:N",
        title=None,
        sort=labels,
        axis=alt.Axis(labelLimit=400, grid=True, domain=False, ticks=False, labelPadding=8),
    )
    x = alt.X("mean:Q", title=_label(result, panel), scale=alt.Scale(zero=panel.base is not None))
    layers = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=""), x2="high:Q", y=y),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y),
    ]
    if panel.base:
        nothing = alt.Chart(alt.Data(values=[{"x": 0}]))
        layers.insert(0, nothing.mark_rule(color="#86827a", strokeDash=[4, 3]).encode(x="x:Q"))
    return alt.layer(*layers).properties(height=max(ROW * len(labels), 60))


def _label(result: StudyResult, panel: Panel) -> str:
    quantity: Quantity = result.study.quantity(panel.y)
    if panel.base is None:
        return quantity.label
    return f"{quantity.label}: difference from {result.conditions[panel.base].label}"
