"""The page's charts: what is drawn of a report, as Altair charts."""

# pyright: reportUnknownVariableType=false
# Altair's methods are made when it is imported, and type checkers cannot see through all of them.

from collections.abc import Iterable
from math import atan2, degrees, log10
from typing import Any

from onebyone.explainer.information import Information
from onebyone.explainer.nonlinearity import Nonlinearity
from onebyone.explainer.page.rows import Row
from onebyone.explainer.page.svg import PAINT, to_svg
from onebyone.explainer.page.words import digits, percent, several, times
from onebyone.explainer.page.work import Alternative, Work
from onebyone.explainer.speed import Speed
from onebyone.explainer.words import amount, byte_amount, seconds_amount

_ROW = 24
_BAR = 15


def _rows(values: Iterable[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.Data(values=list(values))


def _names(labels: Iterable[str], *, grid: bool = False) -> Any:
    """Return an axis of names, with room for them in any font that a reader may have."""
    import altair as alt

    room = 10 + 7.2 * max(map(len, labels))
    return alt.Axis(
        domain=False, ticks=False, labelPadding=6, minExtent=room, labelLimit=room, grid=grid
    )


def _painted(colour: str) -> Any:
    """Return a channel that takes a field's word as the colour itself."""
    import altair as alt

    return alt.Color(f"{colour}:N", scale=None)


def work_chart(work: list[Work]) -> str:
    """Draw what share of multiply-adds, and of times that were measured, each role has."""
    import altair as alt

    measures = {
        "multiply-adds": [one.macs_share for one in work],
        "time in PyTorch": [one.torch_share for one in work],
        "time compiled": [one.engine_share for one in work],
    }
    shown = {name: shares for name, shares in measures.items() if None not in shares}
    width = 430 // len(shown) - 20
    largest = max(share or 0 for shares in shown.values() for share in shares)
    panels = []
    for name, shares in shown.items():
        values = [
            {
                "role": one.label,
                "share": share,
                "text": percent(share or 0),
                "paint": PAINT[one.colour],
                "about": f"{one.label}: {percent(share or 0)} of {name}",
            }
            for one, share in zip(work, shares, strict=True)
        ]
        axis = _names(one.label for one in work) if not panels else None
        base = alt.Chart(_rows(values)).encode(
            x=alt.X("share:Q", axis=None, scale=alt.Scale(domain=[0, largest * 1.35])),
            y=alt.Y("role:N", sort=None, title=None, axis=axis),
            description="about:N",
        )
        bars = base.mark_bar(height=_BAR).encode(color=_painted("paint"))
        texts = base.mark_text(align="left", dx=5).encode(text="text:N")
        panels.append(
            (bars + texts).properties(width=width, height=_ROW * len(work), title=f"of {name}")
        )
    return to_svg(
        alt.hconcat(*panels, spacing=20),
        key="work",
        title="Work by role",
        description="Bars: the share that the layers of each role have. The numbers are written.",
    )


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
        mark = alt.Chart(_rows(values)).mark_text(color=PAINT["soft"], aria=False, **place)
        return mark.encode(x=x, y=y, text="text:N")

    # The name of the memory's speed goes along the slope as it is drawn.
    width, height = 500, 340
    angle = 360 - degrees(atan2(height * log10(high / low), width * log10(top / bottom)))
    line = [{"x": at, "y": roof(at)} for at in (max(low, low * bottom / roof(low)), ridge, high)]
    # Shapes and not only places tell the two apart, and colours the roles.
    legend = alt.Legend(orient="top", symbolFillColor=PAINT["soft"]) if _is_both(points) else None
    shapes = alt.Scale(domain=["PyTorch", "compiled"], range=["circle", "triangle-up"])
    chart = alt.layer(
        alt.Chart(_rows(line))
        .mark_line(color=PAINT["ink"], strokeWidth=1.5, clip=True, aria=False)
        .encode(x=x, y=y),
        name(high, f"computing: {amount(peak * 1e9)}FLOP/s", align="right", dy=-8),
        name((low * ridge) ** 0.5, f"memory: {byte_amount(bandwidth)}/s", angle=angle, dy=-8),
        alt.Chart(_rows(point for point in points if point["y2"] is not None))
        .mark_rule(color=PAINT["soft"], opacity=0.5, aria=False)
        .encode(x=x, y=y, y2="y2:Q"),
        alt.Chart(_rows(points))
        .mark_point(filled=True, size=70, opacity=1, stroke=PAINT["paper"], strokeWidth=0.8)
        .encode(
            x=x,
            y=y,
            shape=alt.Shape("run:N", title=None, scale=shapes, legend=legend),
            color=_painted("paint"),
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


def information_chart(information: Information, colours: dict[str, str]) -> str:
    """Draw what each reduction keeps, between random mixtures and the best choice."""
    import altair as alt

    values = [
        {
            "layer": f"{one.path or one.name}{' *' if one.is_scarce else ''}",
            "best": one.best,
            "kept": one.kept,
            "random": one.random,
            "low": min(one.kept, one.random),
            "paint": PAINT[colours.get(one.name, "reduce")],
            "about": (
                f"{one.path or one.name}, {one.in_channels} to {one.out_channels} channels: keeps "
                f"{percent(one.kept)}, best possible {percent(one.best)}, random "
                f"{percent(one.random)}"
            ),
        }
        for one in information.layers
    ]
    base = alt.Chart(_rows(values)).encode(
        y=alt.Y(
            "layer:N",
            sort=None,
            title=None,
            axis=_names((str(value["layer"]) for value in values), grid=True),
        ),
        description="about:N",
    )

    def x(field: str) -> Any:
        axis = alt.Axis(format="%", title="share of the input's variance", tickCount=5, grid=False)
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, 1]), axis=axis)

    chart = alt.layer(
        base.mark_rule(color=PAINT["soft"], strokeWidth=1).encode(x=x("low"), x2="best:Q"),
        base.mark_tick(color=PAINT["soft"], thickness=2, size=13).encode(x=x("random")),
        base.mark_point(
            shape="diamond", size=60, color=PAINT["ink"], fill=PAINT["paper"], opacity=1
        ).encode(x=x("best")),
        base.mark_point(filled=True, size=85, opacity=1).encode(
            x=x("kept"), color=_painted("paint")
        ),
    ).properties(width=380, height=21 * len(values))
    return to_svg(
        chart,
        key="information",
        title="Information kept by each reduction",
        description=(
            "A line for each layer: a tick for random mixtures, a dot for this layer, a diamond "
            "for the best choice of as many numbers. The table below has the numbers."
        ),
    )


def nonlinearity_chart(nonlinearity: Nonlinearity) -> str:
    """Draw each layer's activation units and, where they were counted, their changes."""
    import altair as alt

    values = [
        {
            "number": number,
            "units": one.units,
            "changes": one.changes,
            "paint": PAINT["accent" if one.behind_pointwise else "spatial"],
            "about": (
                f"{one.path or one.name} ({one.function}"
                f"{', behind a 1x1' if one.behind_pointwise else ''}): "
                f"{several(one.units, 'unit')}"
                + (f", {digits(one.changes)} changes" if one.changes is not None else "")
            ),
        }
        for number, one in enumerate(nonlinearity.layers, start=1)
    ]
    has_changes = any(one.changes is not None for one in nonlinearity.layers)
    titles = {"units": "units"} | ({"changes": "changes on a segment"} if has_changes else {})
    panels = [
        alt.Chart(_rows(value for value in values if value[field] is not None), title=title)
        .mark_bar()
        .encode(
            x=alt.X(
                "number:O",
                title="activation layer, in the order of running"
                if field == list(titles)[-1]
                else None,
                axis=alt.Axis(labels=False, ticks=False),
                scale=alt.Scale(domain=list(range(1, len(values) + 1)), paddingInner=0.15),
            ),
            y=alt.Y(
                f"{field}:Q",
                title=None,
                axis=alt.Axis(labelExpr="format(datum.value, '~s')", tickCount=3, domain=False),
            ),
            color=_painted("paint"),
            description="about:N",
        )
        .properties(width=500, height=120)
        for field, title in titles.items()
    ]
    return to_svg(
        alt.vconcat(*panels, spacing=8),
        key="nonlinearity",
        title="Activations layer by layer",
        description="Columns: units of each layer of activations, and how often they change.",
    )


def alternatives_chart(alternatives: list[Alternative]) -> str:
    """Draw how many times the network's multiply-adds and parameters each alternative needs."""
    import altair as alt

    measures: dict[str, list[tuple[float, str]]] = {
        "multiply-adds": [(one.macs_factor, amount(one.macs)) for one in alternatives],
        "parameters": [(one.params_factor, amount(one.params)) for one in alternatives],
        "time at best": [
            (one.seconds_factor, seconds_amount(one.seconds))
            for one in alternatives
            if one.seconds is not None and one.seconds_factor is not None
        ],
    }
    panels = []
    for name, measured in measures.items():
        if not measured:
            continue
        values = [
            {
                "name": one.name,
                "factor": factor,
                "text": times(factor),
                "paint": PAINT["ink" if one.is_itself else "accent"],
                "about": f"{one.name}: {name} {number}, {times(factor)} the network's own",
            }
            for one, (factor, number) in zip(alternatives, measured, strict=True)
        ]
        axis = _names(one.name for one in alternatives) if not panels else None
        largest = max(factor for factor, _ in measured)
        base = alt.Chart(_rows(values)).encode(
            x=alt.X("factor:Q", axis=None, scale=alt.Scale(domain=[0, largest * 1.3])),
            y=alt.Y("name:N", sort=None, title=None, axis=axis),
            description="about:N",
        )
        bars = base.mark_bar(height=_BAR).encode(color=_painted("paint"))
        texts = base.mark_text(align="left", dx=5).encode(text="text:N")
        height = (_ROW + 4) * len(alternatives)
        panels.append((bars + texts).properties(width=170, height=height, title=name))
    return to_svg(
        alt.hconcat(*panels, spacing=18),
        key="alternatives",
        title="The network without its 1x1 convolutions",
        description="Bars: multiply-adds and parameters, as multiples of the network's own.",
    )
