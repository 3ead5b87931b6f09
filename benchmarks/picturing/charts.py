"""Charts in the look of the drawings: Altair's, as SVG."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import vl_convert

from .drawing import INK, PAPER, RULE, SANS, SOFT

CONFIG: dict[str, Any] = {
    "background": PAPER,
    "font": SANS,
    "padding": 16,
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": RULE,
        "tickColor": RULE,
        "domainColor": RULE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": INK, "labelFontSize": 12, "title": None, "orient": "bottom"},
    "header": {"labelColor": SOFT, "labelFontSize": 12, "title": None},
    "title": {
        "color": INK,
        "subtitleColor": SOFT,
        "fontSize": 16,
        "subtitleFontSize": 12.5,
        "subtitlePadding": 6,
        "anchor": "start",
        "offset": 14,
    },
}


def data_of(values: Iterable[Mapping[str, Any]]) -> Any:
    """Return values as what a chart is drawn of."""
    return alt.Data(values=[dict(one) for one in values])


def coloured(colours: Mapping[str, str]) -> Any:
    """Return the channel of the field `kind`, in the colours of its values."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("kind:N", scale=scale, legend=alt.Legend(columns=5))


def to_svg(chart: Any) -> str:
    """Render a chart."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    is_known = version in vl_convert.get_vegalite_versions()
    spec = chart.to_dict() | {"config": CONFIG}
    return vl_convert.vegalite_to_svg(spec, vl_version=version if is_known else None) + "\n"
