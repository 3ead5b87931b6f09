"""A comparison as a table."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from onebyone.bench.comparison import Comparison, EngineResult
from onebyone.bench.engines import OURS


def render(comparison: Comparison) -> RenderableType:
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
    return Group(_table(comparison), *remarks, *absent, "")


def _table(comparison: Comparison) -> Table:
    table = Table(title=_title(comparison), title_justify="left", box=None, pad_edge=False)
    table.add_column("engine", min_width=12)
    for heading in ("median ms", "10%..90%", "time / ours", "relative RMS"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, result in sorted(comparison.engines.items(), key=lambda row: row[1].median_seconds):
        ratio = comparison.ratios.get(name)
        table.add_row(
            escape(name),
            f"{1e3 * result.median_seconds:.2f}",
            f"{1e3 * result.p10_seconds:.2f}..{1e3 * result.p90_seconds:.2f}",
            f"{ratio:.2f}" if ratio is not None else "",
            _error(result),
            style="bold" if name == OURS else None,
        )
    return table


def _title(comparison: Comparison) -> str:
    threads = f"{comparison.threads} thread{'s' if comparison.threads > 1 else ''}"
    return f"{escape(comparison.model)}, batch {comparison.batch}, {threads}"


def _error(result: EngineResult) -> str:
    if result.is_right:
        return f"{result.relative_rms:.1e}"
    return f"[bold red]WRONG OUTPUT {result.relative_rms:.1e}[/]"
