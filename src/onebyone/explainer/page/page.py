"""A report -> one page of HTML that holds all that it needs."""

from importlib import resources
from pathlib import Path
from typing import Any

from onebyone.errors import OneByOneError
from onebyone.explainer.cost import LayerKind
from onebyone.explainer.page import charts, words
from onebyone.explainer.page.advice import advise
from onebyone.explainer.page.blocks import blocks_of
from onebyone.explainer.page.exhibits import exhibits_of
from onebyone.explainer.page.picture import describe, draw_pictures
from onebyone.explainer.page.roofline import roofline_chart
from onebyone.explainer.page.rows import COLOURS, Row, rows_of
from onebyone.explainer.page.work import alternatives_of, module_lines, work_by_role
from onebyone.explainer.report import Report
from onebyone.explainer.summary import summarize
from onebyone.explainer.words import CONVENTION, amount, byte_amount, seconds_amount
from onebyone.files import replacing
from onebyone.packages import EXTRAS, require

_TIMES = (("PyTorch", "n"), ("compiled", "n"), ("of ceiling", "n"))
_COLUMNS = (
    ("#", "n"),
    ("layer", ""),
    ("role or kind", ""),
    ("pattern", ""),
    ("kernel", "n"),
    ("reads", "n"),
    ("gives", "n"),
    ("MACs", "n"),
    ("share", "n"),
    ("parameters", "n"),
    ("bytes", "n"),
    ("MACs per byte", "n"),
    *_TIMES,
    ("followed by", ""),
    ("why", ""),
)
"""Heads of the table of layers, and the class of those of numbers."""


def render_page(report: Report) -> str:
    """Return a report as one HTML page that needs no network; the same for the same report.

    Raises:
        MissingPackageError: If altair, jinja2 or vl-convert is not installed.
    """
    require("a report as HTML", *EXTRAS["html"])
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("onebyone.explainer", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        amount=amount,
        byte_amount=byte_amount,
        exact=words.exact,
        percent=words.percent,
        seconds_amount=seconds_amount,
        shape=words.shape,
        digits=words.digits,
        times=words.times,
    )
    return environment.get_template("template.html.j2").render(
        **_content(report),
        several=words.several,
        style=_text("style.css"),
        script=_text("script.js") + "\n" + _text("exhibit.js"),
    )


def write_page(report: Report, path: Path) -> None:
    """Write a report as one HTML page; the file is replaced as a whole, or left as it is.

    Raises:
        MissingPackageError: If altair, jinja2 or vl-convert is not installed.
        OneByOneError: If the file cannot be written.
    """
    page = render_page(report)
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as cause:
        raise OneByOneError(
            f"{path}: a report was to be written, and cannot be ({cause.strerror}); "
            "name a file in a folder that exists and that you may write to"
        ) from cause


def _text(name: str) -> str:
    return resources.files("onebyone.explainer.page").joinpath(name).read_text(encoding="utf-8")


def _content(report: Report) -> dict[str, Any]:
    """Return what the template names."""
    rows = rows_of(report)
    blocks = blocks_of(report.modules, rows)
    work = work_by_role(rows)
    alternatives = alternatives_of(report)
    exhibits = exhibits_of(report.specimens, rows)
    timed = any(row.time for row in rows)
    pictures = draw_pictures(
        blocks,
        has_time=timed,
        has_engine=any(row.time and row.time.engine_seconds for row in rows),
    )
    return {
        "report": report,
        "convention": CONVENTION,
        "summary": summarize(report),
        "facts": _facts(report),
        "rows": rows,
        "timed": timed,
        "work": work,
        "pictures": pictures,
        "modules": list(module_lines(report.modules)),
        "alternatives": alternatives,
        "advice": advise(report, rows),
        "exhibits": exhibits,
        "left_out": len(report.specimens) - len(exhibits),
        "charts": _charts(report, rows, work, alternatives),
        "layers": [_shown(row) for row in rows],
        "columns": [column for column in _COLUMNS if timed or column not in _TIMES],
        "data": report.to_json(),
    }


def _facts(report: Report) -> list[tuple[str, str]]:
    """Return the figures at the head of the page: each a name and a number."""
    cost, speed = report.cost, report.speed
    facts = [
        ("multiply-adds", amount(cost.macs)),
        ("parameters", amount(cost.params)),
        ("1x1 convolutions", str(len(cost.of_kind(LayerKind.POINTWISE)))),
        ("their share of multiply-adds", words.percent(cost.macs_share(LayerKind.POINTWISE))),
    ]
    if cost.peak_bytes:
        facts.append(("of activations at most", byte_amount(cost.peak_bytes)))
    if speed:
        facts.append(("in PyTorch", seconds_amount(speed.torch_seconds)))
        if speed.engine_seconds is not None:
            facts.append(("compiled", seconds_amount(speed.engine_seconds)))
    return facts


def _charts(report: Report, rows: list[Row], work: list[Any], alternatives: list[Any]) -> Any:
    """Draw the charts that there are numbers for; None stands for the others."""
    speed, information, nonlinearity = report.speed, report.information, report.nonlinearity
    colours = {row.layer.name: row.colour for row in rows}
    timed = any(row.time for row in rows)
    return {
        "work": charts.work_chart(work) if work else None,
        "roofline": roofline_chart(rows, speed) if speed and timed else None,
        "information": (
            charts.information_chart(information, colours)
            if information and information.layers
            else None
        ),
        "nonlinearity": charts.nonlinearity_chart(nonlinearity) if nonlinearity.layers else None,
        "alternatives": charts.alternatives_chart(alternatives) if alternatives else None,
    }


def _shown(row: Row) -> dict[str, Any]:
    """Return what scripts need of a layer: its record, and how it is shown."""
    return {
        **row.record(),
        "label": row.label,
        "colour": COLOURS[row.label],
        "about": describe(row),
    }
