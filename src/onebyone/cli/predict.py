"""`onebyone predict`: the classes of photos."""

import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from onebyone.cli.console import WRONG_USE, bar, print_error, print_json, progress, stdout, tell
from onebyone.cli.engine import Engine, start_engine
from onebyone.errors import PhotoError

if TYPE_CHECKING:
    from onebyone.models import Prediction

BAR_WIDTH = 20


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, or a checkpoint.",
        ),
    ],
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="Photos to classify.")],
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
) -> int:
    """Name the most probable classes of photos.

    Photos that cannot be read are named on stderr, one line each; the others are still classified,
    and the exit status is 2.
    """
    from onebyone.models import check_reference, default_weights

    # What is quick to find wrong comes first: the network may have to be fetched and compiled.
    check_reference(model)
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
