"""What is to be had of a network, as a table for a terminal."""

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from onebyone.shrinking.analyse import HELD, Prospect, ShrinkAnalysis
from onebyone.shrinking.plan_text import NAME_WIDTH, WIDTH, reasons_table


def analysis_to_text(analysis: ShrinkAnalysis) -> str:
    """Return an analysis as plain text."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(show_analysis(analysis))
    return capture.get().rstrip("\n")


def show_analysis(analysis: ShrinkAnalysis) -> RenderableType:
    """Return an analysis for a rich console."""
    parts: list[RenderableType] = [
        Text.assemble((analysis.model, "bold"), f"  {analysis.macs / 1e6:,.1f}M multiply-adds"),
        Text(_summary(analysis)),
        "",
        _table(analysis),
    ]
    for title, reasons in (
        ("Left alone", analysis.left_alone),
        ("Hidden widths left alone", analysis.unproven),
    ):
        if reasons:
            parts += ["", Text(title, style="bold"), reasons_table(reasons)]
    return Group(*parts)


def _summary(analysis: ShrinkAnalysis) -> str:
    changing = sum(one.macs for one in analysis.prospects)
    return (
        f"{changing / analysis.macs:.0%} of them lie in {len(analysis.prospects)} layers that may "
        f"change. No budget below {analysis.smallest_share:.2f} of the multiply-adds can be met, "
        "whatever it cost in quality; what budgets cost, `plan_shrink` tells from images."
    )


def _table(analysis: ShrinkAnalysis) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("is", no_wrap=True)
    table.add_column("of all MACs", justify="right", no_wrap=True)
    table.add_column(f"{HELD:.0%} of it in", justify="right", no_wrap=True)
    table.add_column("could be as small as", overflow="fold")
    table.add_column("MACs left", justify="right", no_wrap=True)
    for one in analysis.prospects:
        table.add_row(*_row(one, analysis.macs))
    return table


def _row(one: Prospect, macs: int) -> list[str]:
    smaller = one.best or ("narrower" if one.group else "")
    left = f"x{one.least_macs / one.macs:.2f}" if one.best else ""
    return [
        escape(one.path),
        one.words,
        f"{one.macs / macs:.1%}",
        f"{one.held_in} channels",
        smaller,
        left,
    ]
