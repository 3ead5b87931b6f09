"""A plan as text: a line for each operation, what it is expected to take, how it runs and why."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.kernels.kernel import Operation
from onebyone.graph.words import shorten

if TYPE_CHECKING:
    from onebyone.compiler.plan.plan import ExecutionPlan

PLACE_WIDTH = 28
LINE_WIDTH = 100
Line = tuple[str, str, str, str, str, str]

QUIET = ("border", "transform")
"""What operations are for that have no line of their own."""


def show_plan(plan: "ExecutionPlan") -> str:
    """Show a line for each operation, and below it one for each of its stages, 100 columns wide."""
    lines = [
        line
        for number, group in enumerate(plan.groups, 1)
        for one in group
        if one.what not in QUIET
        for line in _lines(plan.choices, one, str(number))
    ]
    heads = ("", "layer", "what", "us", "chunks", "how, and why")
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    total = sum(_seconds(plan.choices, one) for one in plan.operations)
    return "\n".join([*_head(plan, total), "", *(_row(one, widths) for one in (heads, *lines))])


def _lines(choices: Mapping[str, Choices], operation: Operation, number: str) -> list[Line]:
    stages = [line for one in operation.stages for line in _lines(choices, one, "")]
    why = choices[operation.name].why if operation.name in choices else ""
    own = (
        number,
        "" if stages else shorten(operation.path or operation.name, PLACE_WIDTH),
        operation.what,
        f"{_seconds(choices, operation) * 1e6:.0f}",
        str(operation.chunks) if number else "",
        "; ".join(filter(None, [operation.note, why])),
    )
    return [own, *stages]


def _head(plan: "ExecutionPlan", total: float) -> list[str]:
    quiet = [one.what for one in plan.operations if one.what in QUIET]
    text = (
        f"{len(plan.operations)} operations in {len(plan.groups)} groups "
        f"(borders cleared: {quiet.count('border')}, inputs transformed for Winograd: "
        f"{quiet.count('transform')}); {_megabytes(plan.constants.size)} MB of weights and tables, "
        f"{_megabytes(plan.arena_size)} MB for values, {_megabytes(plan.scratch_size)} MB for each "
        f"thread; {total * 1e3:.2f} ms of core time expected"
    )
    return textwrap.wrap(text, LINE_WIDTH)


def _row(line: Line, widths: Sequence[int]) -> str:
    number, place, what, seconds, chunks, how = line
    begin = (
        f"{number:>{widths[0]}}  {place:<{widths[1]}}  {what:<{widths[2]}}  "
        f"{seconds:>{widths[3]}}  {chunks:>{widths[4]}}  "
    )
    further = " " * len(begin)
    shown = textwrap.fill(how, LINE_WIDTH, initial_indent=begin, subsequent_indent=further)
    return (shown or begin).rstrip()


def _seconds(choices: Mapping[str, Choices], operation: Operation) -> float:
    names = (one.name for one in operation.stages or (operation,))
    return sum(choices[name].seconds for name in names if name in choices)


def _megabytes(floats: int) -> str:
    return f"{4e-6 * floats:.1f}"
