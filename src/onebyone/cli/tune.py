"""`onebyone tune`: which ways of running a network's layers are the fastest on this machine."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import Progress

from onebyone.cli.console import print_json, stderr, stdout, tell
from onebyone.compiler.threads import MOST_THREADS

if TYPE_CHECKING:
    from onebyone.compiler.tune.tuning import Tuning


def tune(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, net.onnx, or a "
            "checkpoint.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a call.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="Threads; by default all cores at hand."),
    ] = None,
    effort: Annotated[
        Literal["measure", "patient"], typer.Option(help="How many ways of a layer are measured.")
    ] = "measure",
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="When to stop: after 30 for measure, and 600 for patient."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all that is known of this machine's layers."),
    ] = None,
    take_in: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="First take in what --export has written."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure which ways of running a network's layers are the fastest here, and keep them.

    `onebyone.compile(..., tune="measure")` then runs them so; no bit of the results changes. What
    was measured so far is kept when it is interrupted.
    """
    from onebyone.compiler.machine.calibrate import calibrated_target
    from onebyone.compiler.tune.wisdom import Wisdom
    from onebyone.errors import CompileError, UnknownNameError

    if model is None and export is None and take_in is None:
        raise UnknownNameError("a MODEL to tune was wanted, or --export or --import with a FILE")
    if export is not None and (export.is_dir() or not export.absolute().parent.is_dir()):
        raise CompileError(f"--export: a file in a folder that is there was wanted; got {export}")
    wisdom = Wisdom(calibrated_target())
    content: dict[str, Any] = {}
    if take_in is not None:
        content["imported"] = wisdom.take_in(take_in)
    if model is not None:
        with redirect_stdout(sys.stderr):
            tuning = _tune(model, batch, threads=threads, tune=effort, seconds=seconds)
        content |= _content(tuning)
        if not as_json:
            stdout().print(str(tuning), markup=False, soft_wrap=True)
    if export is not None:
        wisdom = Wisdom(calibrated_target())
        wisdom.export(export)
        content["exported"] = len(wisdom.findings)
    if as_json:
        print_json(content)
        return
    for word, path in (("imported", take_in), ("exported", export)):
        if path is not None:
            stdout().print(f"{path}: {word} {content[word]} kinds of layers", soft_wrap=True)


def _tune(model: str, batch: int, **settings: Any) -> "Tuning":
    """Load a network and tune it, with a progress bar if a person is watching."""
    from onebyone.bench import load_subject
    from onebyone.compiler import tune_model
    from onebyone.models import check_reference

    check_reference(model)
    tell(f"loading {model}")
    subject = load_subject(model)
    bar = Progress(
        console=stderr(), transient=True, auto_refresh=False, disable=not sys.stderr.isatty()
    )
    with bar:
        task = bar.add_task("measuring variants", total=None)
        bar.refresh()
        return tune_model(
            subject.network,
            subject.images(batch),
            watch=lambda done, total: bar.update(task, completed=done, total=total, refresh=True),
            **settings,
        )


def _content(tuning: "Tuning") -> dict[str, Any]:
    layers = [
        {
            "name": one.name,
            "place": one.place,
            "changed": one.chosen != one.expected,
            "finding": one.finding and asdict(one.finding),
        }
        for one in tuning.layers
    ]
    return {
        "threads": tuning.threads,
        "measured": tuning.measured,
        "seconds": tuning.seconds,
        "gain": tuning.gain,
        "layers": layers,
    }
