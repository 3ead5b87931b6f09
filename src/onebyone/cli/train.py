"""`onebyone train`: a network learns from labelled images, or is measured on them."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from onebyone.cli.console import print_error, print_json, stderr, stdout, tell
from onebyone.errors import TrainingError

if TYPE_CHECKING:
    from onebyone.training import Progress as Reached
    from onebyone.training import Recipe, TrainResult

SIGNALLED = 128
"""What shells add to the number of the signal that ended a program."""


def train(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, file.py:factory, or a checkpoint; by default the data's "
            "usual one.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion-mnist or cifar10, with :DIR for files that are there; "
            "imagefolder:DIR for photos in DIR/train/CLASS and DIR/val/CLASS, or in DIR/CLASS; "
            "webdataset:TRAIN.tar::TEST.tar for shards, as in shard-{000..009}.tar."
        ),
    ] = "digits",
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, metrics and the state.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name; by default the data's usual one.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often to see each image.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images in a step, over all processes.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="The greatest learning rate.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32, bf16 or 16 bits for the multiplications.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Where to start from: 'imagenet' or a file; by default at random."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes to train with.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode photos; by default one a core."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What random numbers depend on.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")
    ] = False,
    evaluate: Annotated[
        Path | None,
        typer.Option(metavar="CKPT", help="Train nothing; measure this checkpoint."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Train a network on labelled images, or measure a checkpoint on them.

    Ctrl-C and SIGTERM end it between two steps; the same command with --resume goes on.
    """
    _check(model, out, recipe, evaluate)
    if evaluate:
        return _evaluate(model, data, evaluate, workers=workers, as_json=as_json)
    from onebyone.training import find_recipe, usual_for
    from onebyone.training import train as train_by_name

    wanted: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": precision,
    }
    changed = {name: value for name, value in wanted.items() if value is not None}
    if learning_rate is not None:
        changed["rate_images"] = None  # what is named holds as it is
    usual = usual_for(data, model=model, weights=weights)
    whole = replace(find_recipe(recipe or usual.recipe), **changed)
    tell(f"preparing {data} and {model or usual.model}")
    with redirect_stdout(sys.stderr), TrainingBar() as bar:
        result = train_by_name(
            model,
            data,
            out,
            recipe=whole,
            weights=weights,
            seed=seed,
            devices=devices,
            resume=resume,
            workers=workers,
            watch=bar,
        )
    if not result.is_first:
        return 0  # the first process says it all
    if as_json:
        print_json(_as_json(result, data, whole, seed))
    else:
        _print_result(result)
    return SIGNALLED + result.signal if result.signal else 0


def _check(model: str | None, out: Path | None, recipe: str | None, evaluate: Path | None) -> None:
    """Find what is wrong in the arguments, before anything heavy is loaded.

    Raises:
        OneByOneError: If something is.
    """
    from onebyone.errors import WeightsError
    from onebyone.files import check_file
    from onebyone.models import check_reference

    if model is not None:
        check_reference(model)
    if evaluate is not None:
        check_file(evaluate, "a checkpoint", WeightsError)
    elif out is None:
        raise TrainingError("a folder for what comes of it was wanted: --out DIR")
    if recipe is not None:
        from onebyone.training import find_recipe

        find_recipe(recipe)


def _evaluate(
    model: str | None, data: str, checkpoint: Path, *, workers: int | None, as_json: bool
) -> int:
    from onebyone.models.checkpoint import is_checkpoint
    from onebyone.training import score_network

    tell(f"measuring {checkpoint} on {data}")
    with redirect_stdout(sys.stderr):
        if is_checkpoint(checkpoint):
            score = score_network(checkpoint, data, workers=workers)
        elif model is None:
            raise TrainingError(
                f"{checkpoint} holds tensors only, and does not say of which network; name it: "
                f"onebyone train MODEL --evaluate {checkpoint}"
            )
        else:
            score = score_network(model, data, weights=checkpoint, workers=workers)
    if as_json:
        print_json({"checkpoint": str(checkpoint), "data": data} | asdict(score))
    else:
        stdout().print(
            f"accuracy {score.accuracy:.2%}, loss {score.loss:.4f}, {score.count} images"
        )
    return 0


class TrainingBar:
    """A progress bar with loss, accuracy, speed and time left, if a person is watching."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn(
                "loss {task.fields[loss]:.3f}  accuracy {task.fields[accuracy]:.1%}  "
                "{task.fields[speed]:.0f} images/s"
            ),
            TimeRemainingColumn(),
            console=stderr(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(
            "", total=None, visible=False, epoch="", loss=0.0, accuracy=0.0, speed=0.0
        )

    def __enter__(self) -> "TrainingBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, progress: "Reached") -> None:
        """Take note of a step, or of an epoch's end."""
        self._bar.update(
            self._task,
            completed=progress.step,
            total=progress.steps,
            visible=True,
            epoch=f"{progress.epoch}/{progress.epochs}",
            loss=progress.loss,
            accuracy=progress.accuracy,
            speed=progress.images_per_second,
        )
        if row := progress.row:
            tell(
                f"epoch {row.epoch}: test accuracy {row.test_accuracy:.2%}, test loss "
                f"{row.test_loss:.4f}, training loss {row.train_loss:.4f}, {row.seconds:.0f} s"
            )


def _print_result(result: "TrainResult") -> None:
    if result.signal:
        print_error(
            f"stopped by {_name(result.signal)} behind step {len(result.steps)}; the same command "
            "with --resume goes on"
        )
    if best := result.best:
        stdout().print(
            f"test accuracy {result.epochs[-1].test_accuracy:.2%} behind epoch "
            f"{result.epochs[-1].epoch}, best {best.test_accuracy:.2%} behind epoch {best.epoch}: "
            f"{result.out}",
            soft_wrap=True,
            markup=False,
        )


def _name(number: int) -> str:
    import signal

    return signal.Signals(number).name


def _as_json(result: "TrainResult", data: str, recipe: "Recipe", seed: int) -> dict[str, Any]:
    return {
        "data": data,
        "seed": seed,
        "recipe": asdict(recipe),
        "out": str(result.out),
        "finished": not result.signal,
        "steps": len(result.steps),
        "best": asdict(result.best) if result.best else None,
        "epochs": [asdict(row) for row in result.epochs],
    }
