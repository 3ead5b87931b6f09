"""`onebyone shrink`: 1x1 bottlenecks where they pay, under a budget of time or multiply-adds."""

from pathlib import Path
from typing import Annotated

import typer

from onebyone.compiler.target import MOST_THREADS

CURVE = (0.8, 0.65, 0.5, 0.4, 0.3)
"""Shares of the original that `--curve` tries, unless some are named."""


def shrink(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, or a checkpoint.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to decide on: a data name of `onebyone train`, or a folder of photos; no "
            "labels are needed. Without them, the network is only looked at."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="BUDGET",
            help="latency=0.5 for half of the measured time, macs=0.5 for half of the "
            "multiply-adds.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Checkpoint (.safetensors) of the small network."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a file, or a hub repository; by default the model's own."),
    ] = None,
    runtime: Annotated[
        str, typer.Option(help="What it will run on: compiled, eager or onnxruntime.")
    ] = "compiled",
    batch: Annotated[int, typer.Option(min=1, help="Images in a call that is timed.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="Threads to time with; by default all cores."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=2, help="Images to decide on, at most; 256 to 1024 are enough.")
    ] = 512,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A layer that stays as it is; may be given again."),
    ] = None,
    align: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Numbers of channels are multiples of this; by default what the runtime's "
            "vectors like.",
        ),
    ] = None,
    tune: Annotated[
        int,
        typer.Option(
            min=0, metavar="EPOCHS", help="Then let it learn from the original for so long."
        ),
    ] = 0,
    curve: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Try several budgets, and draw what each costs in quality; goes on where it was "
            "interrupted.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What random numbers depend on.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a network narrower that keeps its job, within a budget.

    Without --data: where 1x1s would pay, and how little could be left. With it: a plan, and the
    small network in --out. Neither labels nor training are needed.
    """
