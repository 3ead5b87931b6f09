"""`onebyone shrink`: 1x1 bottlenecks where they pay, under a budget of time or multiply-adds."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from onebyone.cli.console import print_json, stdout, tell, watch
from onebyone.cli.train import TrainingBar
from onebyone.compiler.threads import MOST_THREADS
from onebyone.errors import ShrinkError
from onebyone.packages import require

if TYPE_CHECKING:
    from onebyone.shrinking import ShrinkAnalysis
    from onebyone.shrinking.by_name import CurveResult, ShrinkResult


def shrink(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, net.onnx, or a "
            "checkpoint.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to decide on: a data name of `onebyone train`, a folder of photos, or "
            "'samples' for the demo's; no labels are needed. Without them, the network is only "
            "looked at."
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
    _check(model, data, budget, out, curve, tune=tune)
    if data is None:
        with redirect_stdout(sys.stderr):  # what a user's file prints is no part of the result
            analysis = _analyse(model, weights, runtime, keep or (), align)
        if as_json:
            print_json(analysis.to_json())
        else:
            from onebyone.shrinking.analysis_text import show_analysis

            stdout().print(show_analysis(analysis))
        return
    options: dict[str, Any] = {
        "weights": weights,
        "images": images,
        "batch": batch,
        "runtime": runtime,
        "threads": threads,
        "keep": keep or (),
        "align": align or "auto",
        "seed": seed,
        "watch": watch,
    }
    tell(f"preparing {data} and {model}")
    if curve is not None:
        from onebyone.shrinking.by_name import shrink_curve

        with redirect_stdout(sys.stderr):
            kind = (budget or "latency").partition("=")[0]
            found = shrink_curve(model, data, curve, kind=kind, **options)
        print_json(found.to_json()) if as_json else _show_curve(found)
        return
    from onebyone.shrinking.by_name import shrink as shrink_by_name

    assert budget is not None
    with redirect_stdout(sys.stderr), TrainingBar() as bar:
        result = shrink_by_name(
            model, data, budget, out, tune_epochs=tune, watch_training=bar, **options
        )
    print_json(result.to_json()) if as_json else _show_result(result)


def _check(
    model: str,
    data: str | None,
    budget: str | None,
    out: Path | None,
    curve: Path | None,
    *,
    tune: int,
) -> None:
    """Find what is wrong in the arguments, before anything heavy is loaded.

    Raises:
        OneByOneError: If something is.
    """
    from onebyone.models.reference import SUFFIX, check_reference
    from onebyone.shrinking.budget import KINDS, parse_budget

    check_reference(model)
    if data is None:
        if budget or out or curve or tune:
            raise ShrinkError("images to decide on were wanted: --data NAME, or a folder of photos")
        return
    if curve is not None and budget in KINDS:
        budget = None  # the kind alone
    elif budget is not None:
        parse_budget(budget)
    elif curve is None:
        raise ShrinkError("a budget was wanted, such as --budget latency=0.5 or --budget macs=0.5")
    if out is not None and (out.suffix != SUFFIX or not out.absolute().parent.is_dir()):
        raise ShrinkError(f"--out: a file {SUFFIX} in a folder that is there was wanted; got {out}")
    if curve is not None:
        require("drawing a curve", "altair", "vl_convert")


def _analyse(
    model: str, weights: str | None, runtime: str, keep: Sequence[str], align: int | None
) -> "ShrinkAnalysis":
    import torch

    from onebyone.models import ZOO, load_model, load_untrained
    from onebyone.shrinking import analyse_shrink

    tell(f"loading {model}")
    weights = weights or _weights_at_hand(model)
    if weights is None:
        network, shape = load_untrained(model)
    else:
        network, card = load_model(model, weights=weights)
        side = card.preprocess.input_size
        shape = (card.preprocess.channels, side, side)
    example = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    return analyse_shrink(
        network,
        example,
        runtime=runtime,
        keep=keep,
        align=align or "auto",
        name=model,
        is_trained=weights is not None or model not in ZOO,
    )


def _weights_at_hand(model: str) -> str | None:
    """Return the weights that a network of the zoo has on this machine, if it has."""
    from onebyone.models import ZOO

    known = ZOO[model].weights if model in ZOO else None
    return "imagenet" if known is not None and known.source.find() is not None else None


def _show_result(result: "ShrinkResult") -> None:
    from onebyone.shrinking.plan_text import show_plan

    console = stdout()
    console.print(show_plan(result.plan))
    console.print()
    found = result.agreement
    console.print(
        f"On {found.images:,} images that it was not decided on, it names the class that the "
        f"original names for {found.top1:.2%}; divergence {found.divergence:.4f} nats."
    )
    if found.accuracy:
        before, after = found.accuracy
        change = 100 * (after - before)
        console.print(f"Accuracy {before:.2%} -> {after:.2%} ({change:+.2f} points).")
    if tuned := result.tuned:
        helped = "" if tuned.helped else ", which did not help: the network is as it was"
        console.print(
            f"Learning from the original: {tuned.before:.2%} -> {tuned.after:.2%} on images kept "
            f"to choose by{helped}."
        )
    if result.advice:
        console.print(result.advice)
    if result.out:
        console.print(f"Written to {result.out}", markup=False, soft_wrap=True)


def _show_curve(result: "CurveResult") -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("budget", style="bold")
    has_labels = result.points[0].accuracy is not None
    headings = ("MACs", "ms", "of the time", "same class", "divergence")
    for heading in (*headings, *(("accuracy",) if has_labels else ())):
        table.add_column(heading, justify="right")
    for point in result.points:
        row = [
            point.budget or "original",
            f"{point.macs / 1e6:.1f}M",
            f"{1e3 * point.seconds:.3g}",
            f"x{point.seconds / point.original_seconds:.2f}",
            f"{point.top1:.2%}",
            f"{point.divergence:.4f}",
        ]
        if point.accuracy is not None:
            row.append(f"{point.accuracy:.2%}")
        table.add_row(*row)
    console = stdout()
    console.print(table)
    for budget, why in result.infeasible.items():
        console.print(f"{budget}: {why}", markup=False, soft_wrap=True)
    console.print(f"\nNetworks and pictures: {result.folder}", markup=False, soft_wrap=True)
