"""A comparison as a table."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from onebyone.bench.comparison import Comparison, EngineResult
from onebyone.bench.engines import OURS
from onebyone.bench.isolated import IsolatedComparison, IsolatedResult
from onebyone.bench.measure import RatioSpread
from onebyone.bench.numerics import label


def render(comparison: Comparison | IsolatedComparison) -> RenderableType:
    """Return the table of one network, fastest engine first, and a line for each remark.

    There is one for each absent engine, and for what one must know of a result.
    """
    remarks = [
        f"[yellow]{escape(name)}: {escape(remark)}[/]"
        for name, remark in comparison.remarks.items()
    ]
    absent = [
        Text(f"{name}: no result. {reason}", "yellow", no_wrap=True, overflow="ignore")
        for name, reason in comparison.absent.items()
    ]
    table = (
        _isolated_table(comparison)
        if isinstance(comparison, IsolatedComparison)
        else _table(comparison)
    )
    return Group(table, *remarks, *absent, "")


def _table(comparison: Comparison) -> Table:
    ours = label("ours", comparison.numerics)
    table = _with_columns(
        _title(comparison), ("median ms", "10%..90%", f"time / {ours}", "relative RMS")
    )
    for name, result in sorted(comparison.engines.items(), key=lambda row: row[1].median_seconds):
        ratio = comparison.ratios.get(name)
        table.add_row(
            escape(name),
            f"{1e3 * result.median_seconds:.2f}",
            f"{1e3 * result.p10_seconds:.2f}..{1e3 * result.p90_seconds:.2f}",
            f"{ratio:.2f}" if ratio is not None else "",
            _error(result),
            style="bold" if name == label(OURS, comparison.numerics) else None,
        )
    return table


def _isolated_table(comparison: IsolatedComparison) -> Table:
    turns = f"{comparison.rounds} round{'s' if comparison.rounds > 1 else ''}"
    ours = label("ours", comparison.numerics)
    table = _with_columns(
        f"{_title(comparison)}, a process each, {turns}",
        ("loop ms", f"loop / {ours}", "burst ms", f"burst / {ours}", "relative RMS"),
    )
    for name, result in sorted(
        comparison.engines.items(), key=lambda row: row[1].loop.median_seconds
    ):
        table.add_row(
            escape(name),
            f"{1e3 * result.loop.median_seconds:.2f}",
            _ratio(comparison.loop_ratios.get(name)),
            f"{1e3 * result.burst.median_seconds:.2f}",
            _ratio(comparison.burst_ratios.get(name)),
            _error(result),
            style="bold" if name == label(OURS, comparison.numerics) else None,
        )
    return table


def _with_columns(title: str, headings: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("engine", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _ratio(ratio: RatioSpread | None) -> str:
    """Show a ratio, and in parentheses the range without the outermost tenths."""
    if ratio is None:
        return ""
    middle, low, high = (
        f"{one:.2f}" if one < 10 else f"{one:.1f}" for one in (ratio.median, ratio.p10, ratio.p90)
    )
    return f"{middle} ({low}..{high})"


def _title(comparison: Comparison | IsolatedComparison) -> str:
    threads = f"{comparison.threads} thread{'s' if comparison.threads > 1 else ''}"
    return f"{escape(comparison.model)}, batch {comparison.batch}, {threads}"


def _error(result: EngineResult | IsolatedResult) -> str:
    if result.is_right:
        return f"{result.relative_rms:.1e}"
    return f"[bold red]WRONG OUTPUT {result.relative_rms:.1e}[/]"
