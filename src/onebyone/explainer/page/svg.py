"""Altair's charts as SVG that takes its colours from the page's style sheet."""

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from onebyone.explainer.page.rows import COLOURS

_NAMES = ("ink", "soft", "rule", "accent", "paper", *sorted(set(COLOURS.values())))

PAINT = {name: f"#0a{number:02x}c3" for number, name in enumerate(_NAMES, start=1)}
"""A stand-in for each of the page's colours, which no chart has otherwise.

A chart is drawn once, and the page is light or dark: so it is drawn in these, and each becomes
`var(--name)` in the SVG.
"""

_CONFIG: dict[str, Any] = {
    "background": None,
    "font": "sans-serif",
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "labelColor": PAINT["soft"],
        "titleColor": PAINT["soft"],
        "gridColor": PAINT["rule"],
        "tickColor": PAINT["rule"],
        "domainColor": PAINT["rule"],
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    },
    "legend": {
        "labelColor": PAINT["ink"],
        "titleColor": PAINT["soft"],
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "symbolStrokeColor": PAINT["ink"],
    },
    "header": {"labelColor": PAINT["ink"], "titleColor": PAINT["soft"], "labelFontSize": 12},
    "text": {"color": PAINT["ink"], "fontSize": 12},
    "title": {"color": PAINT["soft"], "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
}


def data_of(values: Iterable[dict[str, Any]]) -> Any:
    """Return values as what a chart is drawn of."""
    import altair as alt

    return alt.Data(values=list(values))


def painted(colour: str) -> Any:
    """Return a channel that takes a field's word as the colour itself."""
    import altair as alt

    return alt.Color(f"{colour}:N", scale=None)


def to_svg(chart: Any, *, key: str, title: str, description: str) -> str:
    """Render an Altair chart.

    Args:
        chart: The chart; its colours come from `PAINT`.
        key: What tells it from the page's other charts; a word.
        title: For those who cannot see it.
        description: What it shows, likewise.
    """
    import altair
    import vl_convert

    spec = chart.to_dict()
    spec["config"] = _CONFIG
    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    # An Altair that is newer than the converter: its newest has all that is drawn here.
    is_known = version in vl_convert.get_vegalite_versions()
    svg = vl_convert.vegalite_to_svg(spec, vl_version=version if is_known else None)
    return _fit(svg, key, title, description)


def _fit(svg: str, key: str, title: str, description: str) -> str:
    """Make a drawing a part of the page: its colours, its own ids, a name, and its size as CSS."""
    for name, paint in PAINT.items():
        svg = svg.replace(paint, f"var(--{name})")
    # Vega numbers them on from chart to chart; here each chart begins anew.
    numbers = {old: n for n, old in enumerate(re.findall(r'\bid="([^"]+)"', svg), start=1)}
    svg = re.sub(r'\bid="([^"]+)"', lambda m: f'id="{key}-{numbers[m[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{key}-{numbers[m[1]]})", svg)
    head, _, body = svg.partition(">")
    head = re.sub(r' (xmlns:xlink|version|class)="[^"]*"', "", head)
    width = re.search(r' width="(\d+)', head)
    assert width, "vl-convert says how wide its drawings are"
    ids = f"{key}-title {key}-desc"
    return (
        f'{head} class="chart" style="--width:{width[1]}" role="img" aria-labelledby="{ids}">'
        f'<title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-desc">{escape(description)}</desc>{body}'
    )
