"""Layers under the machine's two ceilings."""

# pyright: reportUnknownVariableType=false
# Altair's methods are made when it is imported, and type checkers cannot see through all of them.

from collections.abc import Iterable
from math import atan2, degrees, log10
from typing import Any

from onebyone.explainer.page.rows import Row
from onebyone.explainer.page.svg import PAINT, data_of, painted, to_svg
from onebyone.explainer.page.words import digits, percent
from onebyone.explainer.speed import Speed
from onebyone.explainer.words import amount, byte_amount, seconds_amount


def roofline_chart(rows: list[Row], speed: Speed) -> str:
    """Draw what each layer achieves, over its intensity, below the machine's two ceilings."""
    import altair as alt

    points = list(_points(rows))
    ceilings = speed.ceilings
    peak, bandwidth = 2 * ceilings.macs_per_second / 1e9, ceilings.bytes_per_second
    ridge = ceilings.macs_per_second / bandwidth
    xs, ys = [point["x"] for point in points], [point["y"] for point in points]
    low, high = min(*xs, ridge) / 1.6, max(*xs, ridge) * 1.6
    bottom, top = min(ys) / 1.6, max(*ys, peak) * 1.6
    x = _log_axis(alt.X, "x", "multiply-adds per byte moved", low, high)
    y = _log_axis(alt.Y, "y", "GFLOP/s (2 FLOPs a multiply-add)", bottom, top)

    def roof(at: float) -> float:
        return min(peak, 2 * bandwidth * at / 1e9)

    def name(at: float, text: str, **place: Any) -> Any:
        values = [{"x": at, "y": roof(at), "text": text}]
        mark = alt.Chart(data_of(values)).mark_text(color=PAINT["soft"], aria=False, **place)
        return mark.encode(x=x, y=y, text="text:N")

    # The name of the memory's speed goes along the slope as it is drawn.
    width, height = 500, 340
    angle = 360 - degrees(atan2(height * log10(high / low), width * log10(top / bottom)))
    line = [{"x": at, "y": roof(at)} for at in (max(low, low * bottom / roof(low)), ridge, high)]
    # Shapes and not only places tell the two apart, and colours the roles.
    legend = alt.Legend(orient="top", symbolFillColor=PAINT["soft"]) if _is_both(points) else None
    shapes = alt.Scale(domain=["PyTorch", "compiled"], range=["circle", "triangle-up"])
    chart = alt.layer(
        alt.Chart(data_of(line))
        .mark_line(color=PAINT["ink"], strokeWidth=1.5, clip=True, aria=False)
        .encode(x=x, y=y),
        name(high, f"computing: {amount(peak * 1e9)}FLOP/s", align="right", dy=-8),
        name((low * ridge) ** 0.5, f"memory: {byte_amount(bandwidth)}/s", angle=angle, dy=-8),
        alt.Chart(data_of(point for point in points if point["y2"] is not None))
        .mark_rule(color=PAINT["soft"], opacity=0.5, aria=False)
        .encode(x=x, y=y, y2="y2:Q"),
        alt.Chart(data_of(points))
        .mark_point(filled=True, size=70, opacity=1, stroke=PAINT["paper"], strokeWidth=0.8)
        .encode(
            x=x,
            y=y,
            shape=alt.Shape("run:N", title=None, scale=shapes, legend=legend),
            color=painted("paint"),
            description="about:N",
        ),
    ).properties(width=width, height=height)
    return to_svg(
        chart,
        key="roofline",
        title="Roofline",
        description=(
            "Each layer's speed over its multiply-adds per byte, both logarithmic, under a line "
            "that rises with the memory's speed and is flat at the processor's."
        ),
    )


def _log_axis(channel: Any, field: str, title: str, low: float, high: float) -> Any:
    """Return a logarithmic channel with a mark at 1, 2 and 5 times each power of ten."""
    import altair as alt

    marks = [m * 10.0**p for p in range(-6, 9) for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return channel(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=marks, format="~r", labelOverlap=True, gridOpacity=0.7),
    )


def _is_both(points: list[dict[str, Any]]) -> bool:
    return len({point["run"] for point in points}) > 1


def _points(rows: list[Row]) -> Iterable[dict[str, Any]]:
    for row in rows:
        if row.time is None or row.layer.intensity == 0:
            continue
        times = {"PyTorch": row.time.torch_seconds, "compiled": row.time.engine_seconds}
        speeds = {
            run: 2 * row.layer.macs / seconds / 1e9 for run, seconds in times.items() if seconds
        }
        for run, speed in speeds.items():
            share = (row.ceiling_seconds or 0) / (times[run] or 1)
            yield {
                "x": row.layer.intensity,
                "y": speed,
                "y2": speeds["PyTorch"] if run == "compiled" and "PyTorch" in speeds else None,
                "run": run,
                "paint": PAINT[row.colour],
                "about": (
                    f"{row.place} ({row.label}), {run}: {digits(speed)} GFLOP/s at "
                    f"{digits(row.layer.intensity)} multiply-adds a byte, "
                    f"{seconds_amount(times[run] or 0)}, {percent(share)} of the ceiling"
                ),
            }
