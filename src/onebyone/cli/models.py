"""`onebyone models`: the zoo as a table."""

from typing import Annotated, Any

import torch
import typer
from rich.table import Table

from onebyone.cli.console import print_json, progress, stdout
from onebyone.explain import CostReport, LayerKind, count_cost
from onebyone.models import ZOO, ModelSpec, build_network


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the zoo: cost, share of 1x1 convolutions, and where the weights are."""
    costs = {spec.name: _cost(spec) for spec in progress(ZOO.values(), "counting")}
    if as_json:
        print_json({"models": [_row(spec, costs[spec.name]) for spec in ZOO.values()]})
    else:
        stdout().print(_table(costs))


def _cost(spec: ModelSpec) -> CostReport:
    with torch.device("meta"):
        network = build_network(spec.config)
    return count_cost(network, (1, 3, spec.input_size, spec.input_size))


def _row(spec: ModelSpec, cost: CostReport) -> dict[str, Any]:
    weights = spec.weights
    return {
        "name": spec.name,
        "input_size": spec.input_size,
        "params": cost.params,
        "macs": cost.macs,
        "pointwise_layers": len(cost.of_kind(LayerKind.POINTWISE)),
        "pointwise_macs_share": cost.macs_share(LayerKind.POINTWISE),
        "weights": weights
        and {
            "source": weights.source.address,
            "at_hand": weights.source.find() is not None,
            "license": weights.license,
            "top1_percent": weights.top1,
            "input_size": weights.preprocess.input_size,
        },
    }


def _table(costs: dict[str, CostReport]) -> Table:
    table = Table(
        title="The zoo. Multiply-adds (MACs) of convolutions and linear layers, for one image.",
        title_justify="left",
        caption="✓ weights at hand; others are fetched when they are first asked for",
        caption_justify="left",
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    # On a narrow terminal it is the last column that gives way.
    table.add_column("model", style="bold", no_wrap=True, min_width=max(map(len, ZOO)))
    for heading in ("input", "params M", "MACs G", "1x1s", "% MACs", "top-1 %"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("ImageNet weights", no_wrap=True)
    for spec in ZOO.values():
        cost = costs[spec.name]
        table.add_row(
            spec.name,
            f"{spec.input_size}",
            f"{cost.params / 1e6:.2f}",
            f"{cost.macs / 1e9:.3f}",
            f"{len(cost.of_kind(LayerKind.POINTWISE))}",
            f"{100 * cost.macs_share(LayerKind.POINTWISE):.1f}",
            _top1(spec),
            _where(spec),
        )
    return table


def _top1(spec: ModelSpec) -> str:
    if spec.weights is None:
        return ""
    size = spec.weights.preprocess.input_size
    return f"{spec.weights.top1:.1f}" + (f" @{size}" if size != spec.input_size else "")


def _where(spec: ModelSpec) -> str:
    if spec.weights is None:
        return "[dim]  none known[/]"
    source = spec.weights.source
    mark = "[green]✓[/]" if source.find() else " "
    return f"{mark} {source.address}"
