"""`onebyone predict`: the classes of photos."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from onebyone.cli.console import bar, print_error, print_json, progress, stdout, tell
from onebyone.cli.engine import Engine, start_engine
from onebyone.cli.many import write_predictions
from onebyone.cli.status import WRONG_USE
from onebyone.errors import PhotoError, PredictionError

if TYPE_CHECKING:
    from onebyone.models import Prediction

BAR_WIDTH = 20

_OUT = "--out FILE.parquet"


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, net.onnx, or a "
            "checkpoint.",
        ),
    ],
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO",
            help="Photos to classify; with --out also one folder, or tar shards "
            "(photos-{000..009}.tar).",
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            help="'imagenet', a file (.safetensors, .pth) or a hub repository (owner/name); "
            "by default the model's own."
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = Engine.COMPILED,
    top: Annotated[int, typer.Option(min=1, help="Classes to name for each photo.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet", help="Write a row for each photo; the same command goes on."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the --out that is there.")
    ] = False,
    on_ray: Annotated[
        bool, typer.Option("--ray", help="Predict on Ray: RAY_ADDRESS, or all cores here.")
    ] = False,
) -> int:
    """Name the most probable classes of photos.

    Photos that cannot be read are named on stderr, one line each; the others are still classified,
    and the exit status is 2. With --out they may be many: they are counted, and the file names all.
    """
    from onebyone.models import check_reference, default_weights

    # What is quick to find wrong comes first: the network may have to be fetched and compiled.
    check_reference(model)
    if out is not None:
        from onebyone.offline import predict_many

        ray = os.environ.get("RAY_ADDRESS", "local") if on_ray else None
        return write_predictions(
            partial(
                predict_many,
                model,
                photos,
                out,
                weights=weights,
                engine=engine,
                top=top,
                overwrite=overwrite,
                ray=ray,
            ),
            as_json={"model": model} if as_json else None,
        )
    _check_few(photos, overwrite=overwrite, on_ray=on_ray)
    readable = _readable(photos)
    predictions: list[tuple[str, Prediction]] = []
    if readable:
        from onebyone.models import load_model, open_photo
        from onebyone.models import predict as predict_photo

        if weights is None:
            weights = default_weights(model)
        with redirect_stdout(sys.stderr):  # what a user's file prints is no part of the result
            tell(f"loading {model} ({weights or 'with weights of its own'})")
            network, card = load_model(model, weights=weights)
            run, engine = start_engine(network, card, engine)
            for photo in progress(readable, "classifying"):
                with _bad_ones_named():
                    prediction = predict_photo(run, card, open_photo(photo), top=top)
                    predictions.append((photo, prediction))
    if as_json:
        print_json(
            {
                "model": model,
                "engine": engine.value,
                "predictions": [_row(photo, prediction) for photo, prediction in predictions],
            }
        )
    elif predictions:
        stdout().print(_table(predictions))
    return 0 if len(predictions) == len(photos) else WRONG_USE


def _check_few(photos: list[str], *, overwrite: bool, on_ray: bool) -> None:
    """Check that what was asked for can be done without a file to write to.

    Raises:
        PredictionError: If it cannot.
    """
    from onebyone.offline.shards import is_shard

    for name, is_given in (("--overwrite", overwrite), ("--ray", on_ray)):
        if is_given:
            raise PredictionError(f"{name} is for many photos; say where they go: {_OUT}")
    first, *others = photos
    if is_shard(first) or (os.path.isdir(first) and not others):  # noqa: PTH112  (of any text)
        raise PredictionError(f"{first} may hold many photos; say where predictions go: {_OUT}")


def _readable(photos: list[str]) -> list[str]:
    """Return the photos that look well by their first bytes; the others are named on stderr."""
    from onebyone.models import check_photo

    readable: list[str] = []
    for photo in photos:
        with _bad_ones_named():
            check_photo(photo)
            readable.append(photo)
    return readable


@contextmanager
def _bad_ones_named() -> Generator[None]:
    """Go on behind a photo that cannot be read, with a line on stderr."""
    try:
        yield
    except PhotoError as error:
        print_error(str(error))


def _row(photo: str, prediction: "Prediction") -> dict[str, Any]:
    return {"image": photo, "top": [asdict(score) for score in prediction.top]}


def _table(predictions: "list[tuple[str, Prediction]]") -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("photo", style="bold", overflow="fold")
    table.add_column("class", overflow="fold", min_width=20)
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("", max_width=BAR_WIDTH, no_wrap=True, overflow="crop")
    for photo, prediction in predictions:
        for i, score in enumerate(prediction.top):
            table.add_row(
                escape(photo) if i == 0 else "",
                f"{escape(score.label)} [dim]{score.index}[/]",
                f"{score.probability:.1%}",
                f"[cyan]{bar(score.probability, BAR_WIDTH)}[/]",
                end_section=i == len(prediction.top) - 1,
            )
    return table
