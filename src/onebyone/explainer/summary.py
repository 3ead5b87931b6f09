"""A report in three sentences."""

import statistics
from collections import Counter
from typing import TYPE_CHECKING

from onebyone.explainer.cost import LayerKind
from onebyone.explainer.words import PATTERNS, ROLES, amount, counted, listed, shape_text, times

if TYPE_CHECKING:
    from onebyone.explainer.report import Report


def summarize(report: "Report") -> tuple[str, ...]:
    """Return what a report says, in at most three sentences."""
    sentences = (_size(report), _roles(report), _worth(report))
    return tuple(filter(None, sentences))


def _size(report: "Report") -> str:
    cost = report.cost
    inputs = listed([shape_text(shape) for shape in report.input_shapes])
    start = (
        f"{report.model} has {amount(cost.params)} parameters and does {amount(cost.macs)} "
        f"multiply-adds for an input of {inputs}"
    )
    layers = cost.of_kind(LayerKind.POINTWISE)
    if not layers:
        return f"{start}; none of its {len(cost.layers):,} layers is a 1x1 convolution."
    share = cost.macs_share(LayerKind.POINTWISE)
    # A layer that runs twice has its numbers once.
    params = sum({layer.path or layer.name: layer.params for layer in layers}.values())
    has, does, holds = ("is a", "does", "holds") if len(layers) == 1 else ("are", "do", "hold")
    return (
        f"{start}; {len(layers):,} of its {counted(len(cost.layers), 'layer', 'layers')} {has} 1x1 "
        f"{'convolution' if len(layers) == 1 else 'convolutions'}, which {does} {share:.1%} of the "
        f"work and {holds} {params / max(cost.params, 1):.1%} of the parameters."
    )


def _roles(report: "Report") -> str:
    roles = Counter(one.role for one in report.pointwise)
    if not roles:
        return ""
    parts = [counted(roles[role], *ROLES[role]) for role in ROLES if roles[role]]
    patterns = Counter(one.pattern for one in report.pointwise if one.pattern)
    start = f"They are {listed(parts)}"
    if not patterns:
        return f"{start}."
    named = [f"{patterns[one]:,} {words}" for one, words in PATTERNS.items() if patterns[one]]
    return f"{start}; {listed(named)}."


def _worth(report: "Report") -> str:
    parts: list[str] = []
    if report.counterfactuals:
        first = report.counterfactuals[0]
        factor = first.macs / report.cost.macs if report.cost.macs else 0.0
        parts.append(
            f"with {first.name} instead it would do {amount(first.macs)} multiply-adds "
            f"({times(factor)}) with {amount(first.params)} parameters"
        )
    if report.information and report.information.layers:
        kept = [layer.kept for layer in report.information.layers]
        parts.append(
            f"its reductions keep {min(kept):.0%} to {max(kept):.0%} of the variance of what they "
            f"read (median {statistics.median(kept):.0%})"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
