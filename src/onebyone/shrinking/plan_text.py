"""A plan as a table for a terminal, at most 100 columns wide."""

from collections import Counter
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from onebyone.shrinking.plan import Decision, ShrinkPlan

WIDTH = 100
NAME_WIDTH = 32


def plan_to_text(plan: ShrinkPlan) -> str:
    """Return a plan as plain text."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(show_plan(plan))
    return capture.get().rstrip("\n")


def show_plan(plan: ShrinkPlan) -> RenderableType:
    """Return a plan for a rich console."""
    parts: list[RenderableType] = [
        Text.assemble((plan.model, "bold"), f"  {plan.budget}, decided on {plan.images} images"),
        Text(_cost(plan)),
        "",
        _table(plan),
    ]
    if plan.left_alone:
        parts += ["", Text("Left alone", style="bold"), reasons_table(plan.left_alone)]
    return Group(*parts)


def _cost(plan: ShrinkPlan) -> str:
    before, after = plan.whole.macs
    text = f"{before / 1e6:,.1f}M multiply-adds → {after / 1e6:,.1f}M ({after / before:.2f})"
    if plan.whole.seconds:
        before, after = plan.whole.seconds
        text += (
            f"; {before * 1e3:.3g} → {after * 1e3:.3g} ms ({after / before:.2f}) on "
            f"{plan.conditions['runtime']}, {plan.conditions['threads']} threads"
        )
        if plan.whole.predicted_seconds:
            text += f", predicted {plan.whole.predicted_seconds * 1e3:.3g} ms"
    return f"{text}; the loss should rise by {plan.loss:.3g} nats an image"


def _table(plan: ShrinkPlan) -> Table:
    is_timed = plan.whole.seconds is not None
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("is", no_wrap=True)
    table.add_column("becomes", overflow="fold")
    table.add_column("MACs", justify="right", no_wrap=True)
    if is_timed:
        table.add_column("time", justify="right", no_wrap=True)
    table.add_column("loss", justify="right", no_wrap=True)
    for decision in plan.decisions:
        table.add_row(*_row(decision, is_timed=is_timed))
    return table


def _row(decision: Decision, *, is_timed: bool) -> list[str]:
    change = decision.change
    stays = change.edit is None
    share = change.macs / change.site.macs
    row = [escape(change.site.path), change.as_it_was.words]
    row += ["stays" if stays else change.words, "" if stays else f"x{share:.2f}"]
    if is_timed:
        row.append("" if stays or not decision.seconds else _ratio(*decision.seconds))
    return [*row, f"{decision.loss:.2g}" if decision.loss else ""]


def _ratio(before: float, after: float) -> str:
    return f"x{after / before:.2f}"


def reasons_table(reasons: Mapping[str, str]) -> Table:
    """Name the reasons why layers are left alone, and for each how many, and the first of them."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for reason, count in Counter(reasons.values()).most_common():
        first = next(path for path, why in reasons.items() if why == reason)
        table.add_row(str(count), escape(f"{reason} ({first}{', ...' if count > 1 else ''})"))
    return table
