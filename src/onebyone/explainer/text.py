"""A report as tables for a terminal, at most 100 columns wide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onebyone.explainer.cost import LayerCost
from onebyone.explainer.modules import ModuleCost
from onebyone.explainer.speed import LayerTime
from onebyone.explainer.structure.roles import Pointwise, Role
from onebyone.explainer.summary import summarize
from onebyone.explainer.words import (
    CONVENTION,
    amount,
    byte_amount,
    counted,
    layer_words,
    listed,
    seconds_amount,
    times,
)

if TYPE_CHECKING:
    from onebyone.explainer.report import Report

WIDTH = 100
NAME_WIDTH = 34

COLOURS = {
    Role.REDUCE: "blue",
    Role.EXPAND: "green",
    Role.MIX: "cyan",
    Role.SHORTCUT: "magenta",
    Role.MERGE: "yellow",
    Role.PROJECT: "bright_blue",
    Role.GATE: "red",
    Role.HEAD: "white",
}
"""What a role looks like in a terminal."""


def show_report(report: "Report", *, depth: int | None = None) -> RenderableType:
    """Return a report for a rich console.

    Args:
        report: What is shown.
        depth: How far down the tree of modules the table goes; to the layers if None.
    """
    parts = [
        Text.assemble((report.model, "bold"), f"  weights: {report.weights}"),
        *(Text(sentence) for sentence in summarize(report)),
        Text(_memory(report)),
        "",
        _layers_table(report, depth),
        *_section("What the 1x1 convolutions are for", _roles_table(report)),
        *_section("What it would cost without them", _counterfactuals_table(report)),
        *_section("What reductions keep", _information_table(report)),
        *_section("How far it is from linear", _nonlinearity_table(report)),
        *_section("Small, large, small across sums", _triples(report)),
        *_section("Not read, or only in part", _notes(report)),
        "",
        Text(CONVENTION, style="dim"),
    ]
    return Group(*parts)


def _memory(report: "Report") -> str:
    cost = report.cost
    text = f"In float32 its weights take {byte_amount(cost.weight_bytes)}"
    if cost.peak_bytes:
        text += (
            f", and activations at most {byte_amount(cost.peak_bytes)} at one time, when "
            f"{cost.peak.node} runs"
        )
    if report.speed:
        ours = report.speed.engine_seconds
        text += (
            f". It takes {seconds_amount(report.speed.torch_seconds)} in PyTorch"
            + (f" and {seconds_amount(ours)} compiled" if ours is not None else "")
            + f", on {counted(report.speed.threads, 'thread', 'threads')}"
        )
    return f"{text}."


def _section(title: str, body: RenderableType | None) -> tuple[RenderableType, ...]:
    return () if body is None else ("", Text(title, style="bold"), body)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What rows of the table are filled from, by the layers' names and paths."""

    report: "Report"
    layers: Mapping[str, list[LayerCost]] = field(default_factory=dict)
    pointwise: Mapping[str, Pointwise] = field(default_factory=dict)
    times: Mapping[str, LayerTime] = field(default_factory=dict)

    @staticmethod
    def of(report: "Report") -> "_Facts":
        layers: dict[str, list[LayerCost]] = {}
        for layer in report.cost.layers:
            layers.setdefault(layer.path, []).append(layer)
        return _Facts(
            report,
            layers,
            {one.name: one for one in report.pointwise},
            {time.name: time for time in report.speed.layers} if report.speed else {},
        )

    def only_layer(self, module: ModuleCost) -> ModuleCost:
        """Return the layer that is all that a module computes; or the module itself."""
        inner = [child for child in module.children if child.macs]
        if not module.path or module.repeats > 1 or self.layers.get(module.path) or len(inner) != 1:
            return module
        (child,) = inner
        is_layer = len(self.layers.get(child.path, [])) == 1 and not child.children
        return child if is_layer and child.repeats == 1 else module

    def within(self, path: str) -> list[LayerCost]:
        """Return the layers of a module and of all within it."""
        inside = path and f"{path}."
        return [
            layer
            for place, layers in self.layers.items()
            for layer in layers
            if place == path or place.startswith(inside)
        ]


def _layers_table(report: "Report", depth: int | None) -> Table:
    has_times = report.speed is not None
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("layer", no_wrap=True, max_width=NAME_WIDTH)
    table.add_column("what it is", no_wrap=True, max_width=19)
    headings = ["channels", "params", "MACs", "share"]
    headings += ["PyTorch", "compiled"] if has_times else ["map", "MAC/B"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _rows(_Facts.of(report), report.modules, 0, depth):
        table.add_row(*row)
    return table


def _rows(
    facts: _Facts, module: ModuleCost, level: int, depth: int | None, parent: str = ""
) -> Iterable[tuple[RenderableType, ...]]:
    """Go through the rows of a module and of those within it; who computes nothing has none."""
    module = facts.only_layer(module)
    own = facts.layers.get(module.path, [])
    label = _label(module, level, parent)
    if len(own) == 1 and not module.children:
        yield _layer_row(facts, label, own[0])
        return
    yield _module_row(facts, module, label, level)
    if level == depth:
        return
    for layer in own:
        yield _layer_row(facts, "  " * level + f"[dim]{escape(layer.name)}[/]", layer)
    for child in module.children:
        if child.macs:
            yield from _rows(facts, child, level + 1, depth, module.path)


def _label(module: ModuleCost, level: int, parent: str) -> str:
    if not module.path:
        return "in all"
    name = module.path.removeprefix(parent and f"{parent}.")
    indented = "  " * (level - 1) + escape(name)
    if module.repeats == 1:
        return indented
    return f"{indented}..{escape(module.last_path.rpartition('.')[2])} [bold]x{module.repeats}[/]"


def _module_row(
    facts: _Facts, module: ModuleCost, label: str, level: int
) -> tuple[RenderableType, ...]:
    kind = "" if module.path == "" else f"[dim]{escape(module.kind)}[/]"
    style = "bold" if level <= 1 else ""
    return (
        Text.from_markup(label, style=style),
        Text.from_markup(kind),
        "",
        amount(module.params),
        amount(module.macs),
        _share(facts, module.macs),
        *_times(facts, facts.within(module.path)),
    )


def _layer_row(facts: _Facts, label: str, layer: LayerCost) -> tuple[RenderableType, ...]:
    role = facts.pointwise.get(layer.name)
    kind = Text(layer_words(layer), style="dim")
    return (
        Text.from_markup(label),
        Text(role.role.value, style=COLOURS[role.role]) if role else kind,
        f"{layer.input_shape[1]} → {layer.output_shape[1]}" if len(layer.output_shape) > 1 else "",
        amount(layer.params),
        amount(layer.macs),
        _share(facts, layer.macs),
        *_times(facts, [layer], one=layer),
    )


def _share(facts: _Facts, macs: int) -> str:
    total = facts.report.cost.macs
    return f"{100 * macs / total:.1f}" if total else ""


def _times(
    facts: _Facts, layers: list[LayerCost], *, one: LayerCost | None = None
) -> tuple[str, str]:
    if facts.report.speed is None:
        if one is None:
            return "", ""
        return "x".join(map(str, one.output_shape[2:])), f"{one.intensity:.1f}"
    found = [facts.times[layer.name] for layer in layers if layer.name in facts.times]
    return (
        _sum_of_times([time.torch_seconds for time in found]),
        _sum_of_times([time.engine_seconds for time in found]),
    )


def _sum_of_times(seconds: Sequence[float | None]) -> str:
    """Write the sum of times; nothing where one is not known."""
    known = [one for one in seconds if one is not None]
    return seconds_amount(sum(known)) if known and len(known) == len(seconds) else ""


def _table(*headings: str) -> Table:
    """Return a table whose first column is text, and whose others are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=index > 0)
    return table


def _roles_table(report: "Report") -> Table | None:
    if not report.pointwise:
        return None
    has_times = report.speed is not None
    facts = _Facts.of(report)
    by_name = {layer.name: layer for layer in report.cost.layers}
    table = _table("role", "layers", "linear", "params", "MACs", "share", *["PyTorch"] * has_times)
    for role in Role:
        ones = [one for one in report.pointwise if one.role is role]
        layers = [by_name[one.name] for one in ones]
        if ones:
            macs = sum(layer.macs for layer in layers)
            times = [_times(facts, layers)[0]] if has_times else []
            table.add_row(
                Text(role.value, style=COLOURS[role]),
                f"{len(ones)}",
                f"{sum(one.activation is None for one in ones)}",
                amount(sum(layer.params for layer in layers)),
                amount(macs),
                f"{_share(facts, macs)} %",
                *times,
            )
    return table


def _counterfactuals_table(report: "Report") -> Table | None:
    if not report.counterfactuals:
        return None
    from onebyone.explainer.ceilings import predict_seconds

    ceilings = report.speed.ceilings if report.speed else None
    table = _table("", "MACs", "", "params", "", *["at least"] * (ceilings is not None))
    now = [("as it is", report.cost.layers, report.cost.macs, report.cost.params)]
    others = [(one.name, one.layers, one.macs, one.params) for one in report.counterfactuals]
    for name, layers, macs, params in now + others:
        table.add_row(
            escape(name),
            amount(macs),
            times(macs / report.cost.macs) if report.cost.macs else "",
            amount(params),
            times(params / report.cost.params) if report.cost.params else "",
            *([seconds_amount(predict_seconds(layers, ceilings))] if ceilings else []),
        )
    return table


def _information_table(report: "Report") -> RenderableType | None:
    if report.information is None or not report.information.layers:
        return None
    table = _table("reduction", "channels", "kept", "best", "random", "rank", "for 99 %", "95 %")
    for layer in report.information.layers:
        table.add_row(
            Text.from_markup(f"{escape(layer.path)}{' [yellow]![/]' * layer.is_scarce}"),
            f"{layer.in_channels} → {layer.out_channels}",
            f"{layer.kept:.3f}",
            f"{layer.best:.3f}",
            f"{layer.random:.3f}",
            f"{layer.rank_in:.1f}",
            f"{layer.width_99}",
            f"{layer.width_95}",
        )
    words = (
        f"Share of the input's variance that the best linear decoder gets back from the output, on "
        f"{report.information.source}; beside it the best and a random choice of as many numbers. "
        "The last columns are the channels that would be enough for 99 and 95 % of what is kept."
    )
    few = "! fewer than 10 samples for each channel: these shares are too high"
    has_few = any(layer.is_scarce for layer in report.information.layers)
    return Group(table, Text(words, style="dim"), *[Text(few, style="yellow")] * has_few)


def _nonlinearity_table(report: "Report") -> RenderableType | None:
    facts = report.nonlinearity
    if not facts.layers:
        return None
    behind = [layer for layer in facts.layers if layer.behind_pointwise]
    text = (
        f"{amount(facts.units)} activation units in "
        f"{counted(len(facts.layers), 'layer', 'layers')}; "
        f"{amount(sum(layer.units for layer in behind))} of them in "
        f"{counted(len(behind), 'layer', 'layers')} behind 1x1 convolutions."
    )
    if facts.changes is not None:
        text += (
            f" Along a segment between two images units change their linear piece at least "
            f"{amount(facts.changes)} times (mean of {facts.segments} segments in {facts.steps} "
            "steps)"
        )
        if facts.changes_without is not None:
            text += (
                f", and {amount(facts.changes_without)} times without the activations behind 1x1s"
            )
        text += "."
    return Text(text)


def _triples(report: "Report") -> RenderableType | None:
    if not report.triples:
        return None
    first = report.triples[0]
    layers, channels = " → ".join(first.layers), " → ".join(map(str, first.channels))
    return Text(
        f"{len(report.triples):,} times a k x k, an expansion and the next block's reduction "
        f"follow one another, such as {layers} ({channels} channels). They are no block: between "
        f"the last two lie {listed(first.between)}, and the wide map is the residual stream."
    )


def _notes(report: "Report") -> RenderableType | None:
    uncounted = [f"not counted: {place}" for place in report.cost.not_counted]
    lines = [Padding(Text(f"- {note}"), (0, 0, 0, 0)) for note in (*report.notes, *uncounted)]
    return Group(*lines) if lines else None
