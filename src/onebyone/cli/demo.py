"""`onebyone demo`: the story of the program, on one pretrained network and real photos."""

import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from onebyone.cli.console import bar, progress, stdout
from onebyone.cli.engine import Engine, start_engine
from onebyone.packages import EXTRAS, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from onebyone.explainer import CostReport
    from onebyone.models import ClassScore, ModelCard

MODEL = "efficientnet_lite0"
BAR_WIDTH = 30

ROUNDS = 5
"""Turns that each engine has with a photo; each turn is four calls, of which the first is not timed
(see `bench.measure`)."""


def demo() -> None:
    """Classify real photos with a pretrained network, and show where its 1x1s are."""
    from onebyone.models.samples import SAMPLE_PHOTOS

    require("the demo", *EXTRAS["photos"])
    from onebyone.explainer import LayerKind, count_cost
    from onebyone.models import load_model

    network, card = load_model(MODEL, weights="imagenet")
    size = card.preprocess.input_size
    cost = count_cost(network, (1, 3, size, size))
    fast, _ = start_engine(network, card, Engine.COMPILED)
    rows = [
        _classify(photo, network, fast, card) for photo in progress(SAMPLE_PHOTOS, "classifying")
    ]
    console = stdout()
    console.print(
        f"[bold]{MODEL}[/]: {cost.params / 1e6:.2f} M parameters, {cost.macs / 1e6:.0f} M "
        "multiply-adds an image.\n"
        f"Its real ImageNet weights ({card.license}) on {len(rows)} real photos, compiled and in "
        f"PyTorch.\nTimes are medians of {ROUNDS} turns of the two engines, warmed up:\n"
    )
    console.print(_predictions_table(rows))
    console.print("\n[bold]Where its 1x1 convolutions are[/]\n")
    console.print(_cost_table(cost))
    console.print(
        f"\nA 1x1 convolution applies one small matrix to the channels of every pixel. They are "
        f"{len(cost.of_kind(LayerKind.POINTWISE))} of the {len(cost.layers)} layers here and do "
        f"{cost.macs_share(LayerKind.POINTWISE):.0%} of the work.\n\n"
        f"Your turn:  onebyone explain {MODEL} --html report.html\n"
        f"            onebyone predict {MODEL} PHOTO...\n"
        "            onebyone models"
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One photo: what the compiled network sees in it, and how PyTorch compares.

    Attributes:
        photo: Its file.
        best: The most probable class.
        compiled_seconds: Median time of the compiled network.
        torch_seconds: The same in PyTorch.
        difference: Root mean square of the difference of the scores, over that of PyTorch's.
    """

    photo: Path
    best: "ClassScore"
    compiled_seconds: float
    torch_seconds: float
    difference: float


def _classify(
    path: Path, network: "nn.Module", fast: "Callable[[Tensor], Any]", card: "ModelCard"
) -> _Row:
    import torch

    from onebyone.bench import measure_interleaved
    from onebyone.models import open_photo, predict

    photo = open_photo(path)
    batch = card.preprocess(photo)[None]
    with torch.inference_mode():
        ours, theirs = fast(batch), network(batch)
        seconds = measure_interleaved(
            {"compiled": partial(fast, batch), "torch": partial(network, batch)}, rounds=ROUNDS
        )
    difference = (ours - theirs).square().mean().sqrt() / theirs.square().mean().sqrt()
    return _Row(
        photo=path,
        best=predict(fast, card, photo, top=1).top[0],
        compiled_seconds=statistics.median(seconds["compiled"]),
        torch_seconds=statistics.median(seconds["torch"]),
        difference=float(difference),
    )


def _predictions_table(rows: list[_Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("photo", style="bold")
    table.add_column("top class")
    for heading in ("probability", "compiled", "PyTorch", "difference"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.photo.name,
            f"{row.best.label} [dim]{row.best.index}[/]",
            f"{row.best.probability:.1%}",
            f"{row.compiled_seconds * 1e3:.1f} ms",
            f"{row.torch_seconds * 1e3:.1f} ms",
            f"{row.difference:.0e}",
        )
    return table


def _cost_table(cost: "CostReport") -> Table:
    from onebyone.explainer import LayerKind

    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("kind", style="bold")
    for heading in ("layers", "multiply-adds", "share"):
        table.add_column(heading, justify="right")
    table.add_column("", width=BAR_WIDTH, no_wrap=True)
    for kind in LayerKind:
        layers, share = cost.of_kind(kind), cost.macs_share(kind)
        if layers:
            table.add_row(
                kind.value,
                f"{len(layers)}",
                f"{sum(layer.macs for layer in layers) / 1e6:.1f} M",
                f"{share:.1%}",
                f"[{'green' if kind is LayerKind.POINTWISE else 'dim'}]{bar(share, BAR_WIDTH)}[/]",
            )
    return table
