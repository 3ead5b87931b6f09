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
    text = (
        f"{changing / analysis.macs:.0%} of them lie in {len(analysis.prospects)} layers that may "
        f"change; no budget below {analysis.smallest_share:.2f} of the multiply-adds can be met, "
        "whatever it cost in quality. "
    )
    if any(one.held_in is not None for one in analysis.prospects):
        paying = [one for one in analysis.prospects if one.pays]
        share = sum(one.macs for one in paying) / analysis.macs
        text += (
            f"By their weights alone, a 1x1 would lose little and pay in {len(paying)} of them, "
            f"which have {share:.0%} of the multiply-adds. "
        )
    return text + "What a budget costs in quality, images tell (--data)."


def _table(analysis: ShrinkAnalysis) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("layer", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("is", no_wrap=True)
    table.add_column("of all MACs", justify="right", no_wrap=True)
    table.add_column(f"{HELD:.0%} of weights in", justify="right", no_wrap=True)
    table.add_column("pays below", justify="right", no_wrap=True)
    table.add_column("a 1x1 pays", no_wrap=True)
    table.add_column("width", no_wrap=True)
    for one in analysis.prospects:
        table.add_row(*_row(one, analysis.macs))
    return table


def _row(one: Prospect, macs: int) -> list[str]:
    return [
        escape(one.path),
        one.words,
        f"{one.macs / macs:.1%}",
        "" if one.held_in is None else f"{one.held_in} channels",
        str(one.pays_below),
        "likely" if one.pays else "",
        "yes" if one.group else "",
    ]
