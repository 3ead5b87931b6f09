"""`onebyone models`: the zoo as a table."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from onebyone.cli.console import print_json, progress, stdout

if TYPE_CHECKING:
    from onebyone.models import ModelSpec


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the zoo: cost, share of 1x1 convolutions, and where the weights are."""
    from onebyone.models import ZOO

    rows = [_row(spec) for spec in progress(list(ZOO.values()), "counting")]
    if as_json:
        print_json({"models": rows})
    else:
        stdout().print(_table(rows))


def _row(spec: "ModelSpec") -> dict[str, Any]:
    import torch

    from onebyone.explainer import LayerKind, count_cost
    from onebyone.models import build_network

    with torch.device("meta"):
        network = build_network(spec.config)
    cost = count_cost(network, (1, 3, spec.input_size, spec.input_size))
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


def _table(rows: list[dict[str, Any]]) -> Table:
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
    width = max(len(row["name"]) for row in rows)
    table.add_column("model", style="bold", no_wrap=True, min_width=width)
    for heading in ("input", "params M", "MACs G", "1x1s", "% MACs", "top-1 %"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("ImageNet weights", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['input_size']}",
            f"{row['params'] / 1e6:.2f}",
            f"{row['macs'] / 1e9:.3f}",
            f"{row['pointwise_layers']}",
            f"{100 * row['pointwise_macs_share']:.1f}",
            _top1(row),
            _where(row),
        )
    return table


def _top1(row: dict[str, Any]) -> str:
    if row["weights"] is None:
        return ""
    size = row["weights"]["input_size"]
    return f"{row['weights']['top1_percent']:.1f}" + (
        f" @{size}" if size != row["input_size"] else ""
    )


def _where(row: dict[str, Any]) -> str:
    if row["weights"] is None:
        return "[dim]  none known[/]"
    mark = "[green]✓[/]" if row["weights"]["at_hand"] else " "
    return f"{mark} {row['weights']['source']}"
