"""The page's charts: what is drawn of a report, as Altair charts."""

# pyright: reportUnknownVariableType=false
# Altair's methods are made when it is imported, and type checkers cannot see through all of them.

from collections.abc import Iterable
from typing import Any

from onebyone.explainer.information import Information
from onebyone.explainer.nonlinearity import Nonlinearity
from onebyone.explainer.page.svg import PAINT, data_of, painted, to_svg
from onebyone.explainer.page.words import digits, percent, several, times
from onebyone.explainer.page.work import Alternative, Work
from onebyone.explainer.words import amount, seconds_amount

_ROW = 24
_BAR = 15


def _names(labels: Iterable[str], *, grid: bool = False) -> Any:
    """Return an axis of names, with room for them in any font that a reader may have."""
    import altair as alt

    room = 10 + 7.2 * max(map(len, labels))
    return alt.Axis(
        domain=False, ticks=False, labelPadding=6, minExtent=room, labelLimit=room, grid=grid
    )


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
        base = alt.Chart(data_of(values)).encode(
            x=alt.X("share:Q", axis=None, scale=alt.Scale(domain=[0, largest * 1.35])),
            y=alt.Y("role:N", sort=None, title=None, axis=axis),
            description="about:N",
        )
        bars = base.mark_bar(height=_BAR).encode(color=painted("paint"))
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
    base = alt.Chart(data_of(values)).encode(
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
            x=x("kept"), color=painted("paint")
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
        alt.Chart(data_of(value for value in values if value[field] is not None), title=title)
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
            color=painted("paint"),
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
        base = alt.Chart(data_of(values)).encode(
            x=alt.X("factor:Q", axis=None, scale=alt.Scale(domain=[0, largest * 1.3])),
            y=alt.Y("name:N", sort=None, title=None, axis=axis),
            description="about:N",
        )
        bars = base.mark_bar(height=_BAR).encode(color=painted("paint"))
        texts = base.mark_text(align="left", dx=5).encode(text="text:N")
        height = (_ROW + 4) * len(alternatives)
        panels.append((bars + texts).properties(width=170, height=height, title=name))
    return to_svg(
        alt.hconcat(*panels, spacing=18),
        key="alternatives",
        title="The network without its 1x1 convolutions",
        description="Bars: multiply-adds and parameters, as multiples of the network's own.",
    )
