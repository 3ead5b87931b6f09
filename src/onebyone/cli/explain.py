"""`onebyone explain`: what the 1x1 convolutions of a network do, cost, keep and add."""

import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from onebyone.cli.console import print_json, stdout, tell, watch
from onebyone.compiler.threads import MOST_THREADS
from onebyone.errors import PhotoError, ShapeError
from onebyone.packages import EXTRAS, is_installed, require

if TYPE_CHECKING:
    from torch import Tensor, nn

    from onebyone.explainer import Report
    from onebyone.models import Preprocess

RANDOM = "random"
"""What `--weights` is for a random start."""

SAMPLES, NO_IMAGES = "samples", "none"
"""What `--images` is for the photos that the extra `demo` brings, and for no photos at all."""

Shapes = tuple[tuple[int, ...], ...]


def explain(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, net.onnx, or a "
            "checkpoint.",
        ),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder of photos to see on them what 1x1s keep, and how often the network bends; "
            f"'{SAMPLES}' for the demo's photos, '{NO_IMAGES}' for no photos.",
        ),
    ] = None,
    time: Annotated[
        bool | None,
        typer.Option(
            "--time/--no-time", help="Measure how long layers take, in PyTorch and compiled."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the report as one page, too; with time, and with the demo's photos if the "
            "weights are at hand.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help=f"'imagenet', a file, a hub repository (owner/name), or '{RANDOM}'; by default "
            "the model's own, if there are photos to see anything on."
        ),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="SHAPE",
            help="Side of the image, or shape, such as 320 or 1x8x64x64; several between commas.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="Threads to measure with; by default all cores at hand."
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="How far down the modules the table goes; by default to layers."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explain what the 1x1 convolutions of a network do, cost, keep and add.

    Cost and roles need no weights, and come at once. Time and what is seen on photos take longer,
    and are part of the report where they are asked for.
    """
    from onebyone.models import check_reference

    check_reference(model)
    shapes = _read_shapes(inputs) if inputs else None
    if html is not None:
        _check_page(html)
        time = time is not False
        images = images or _images_at_hand(model, weights)
    images = None if images == NO_IMAGES else images
    if images is not None:
        _check_images(images)
    with redirect_stdout(sys.stderr):  # what a user's file prints is no part of the result
        report = _explain(model, weights, shapes, images, time=bool(time), threads=threads)
    if html is not None:
        report.to_html(html)
    if as_json:
        print_json(report.to_json())
    else:
        from onebyone.explainer.text import show_report

        stdout().print(show_report(report, depth=depth))
        if html is not None:
            stdout().print(f"\nThe page: {html}", markup=False)


def _explain(
    model: str,
    weights: str | None,
    shapes: Shapes | None,
    images: str | None,
    *,
    time: bool,
    threads: int | None,
) -> "Report":
    from onebyone.explainer import explain_network

    tell(f"loading {model}")
    found = _load(_sized(model, shapes), weights, has_photos=images is not None, is_run=time)
    network = found.network
    shapes = shapes or (found.input_shape,)
    is_meta = any(parameter.is_meta for parameter in network.parameters())
    return explain_network(
        network,
        tuple(_example(shape, is_meta=is_meta) for shape in shapes),
        images=images,
        preprocess=found.preprocess,
        measure_time=time,
        threads=threads,
        name=model,
        weights=found.weights,
        watch=watch,
    )


def _sized(model: str, shapes: Shapes | None) -> str:
    """Return what an ONNX file is called whose images have the size that `--input` says."""
    from onebyone.models.reference import OnnxFile, read_reference

    reference = read_reference(model)
    if not isinstance(reference, OnnxFile) or reference.size or not shapes:
        return model
    sides = {1: shapes[0] * 2, 4: shapes[0][2:]}.get(len(shapes[0]))
    return f"{model}:{sides[0]}x{sides[1]}" if sides else model


class _Found(NamedTuple):
    """A network, the shape of its input, how photos become such, and what its weights are."""

    network: "nn.Module"
    input_shape: tuple[int, ...]
    preprocess: "Preprocess | None"
    weights: str


def _load(model: str, weights: str | None, *, has_photos: bool, is_run: bool) -> _Found:
    """Load what a user names; the zoo's networks without numbers, if no numbers count."""
    import torch

    from onebyone.models import ZOO, build_network, default_weights, load_model, load_untrained

    own = default_weights(model)
    if weights is None and has_photos:
        weights = own
    label = ("its own" if own is None else RANDOM) if weights in (None, RANDOM) else str(weights)
    if model in ZOO and weights is None and not is_run:
        with torch.device("meta"):
            network = build_network(ZOO[model].config)
        side = ZOO[model].input_size
        return _Found(network.eval(), (1, 3, side, side), None, "not loaded")
    if weights in (None, RANDOM) and not has_photos:
        network, shape = load_untrained(model)
        return _Found(network, (1, *shape), None, label)
    network, card = load_model(model, weights=None if weights == RANDOM else weights)
    side = card.preprocess.input_size
    return _Found(network, (1, 3, side, side), card.preprocess, label)


def _example(shape: tuple[int, ...], *, is_meta: bool) -> "Tensor":
    import torch

    shape = (1, 3, *shape, *shape) if len(shape) == 1 else shape
    if is_meta:
        return torch.empty(shape, device="meta")
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _read_shapes(text: str) -> Shapes:
    """Read "320" or "1x3x224x224,1x10"."""
    if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*(,[1-9]\d{0,8}(x[1-9]\d{0,8})*)*", text):
        raise ShapeError(
            f"--input: a side such as 320, or shapes such as 1x3x224x224, were wanted; got {text!r}"
        )
    return tuple(tuple(map(int, shape.split("x"))) for shape in text.split(","))


def _images_at_hand(model: str, weights: str | None) -> str:
    """Return the demo's photos, if they are installed and there are weights to see anything by."""
    from onebyone.models import ZOO

    has_photos = is_installed("PIL")
    known = ZOO[model].weights if model in ZOO else None
    is_trained = weights not in (None, RANDOM) or (
        known is not None and known.source.find() is not None
    )
    return SAMPLES if has_photos and is_trained else NO_IMAGES


def _check_page(path: Path) -> None:
    require("a report as HTML", *EXTRAS["html"])
    if path.is_dir() or not path.parent.is_dir():
        where = "is a folder" if path.is_dir() else f"lies in {path.parent}, which is no folder"
        raise ShapeError(f"--html: a file to write was wanted, and {path} {where}")


def _check_images(images: str) -> None:
    if images == SAMPLES:
        return
    if not Path(images).is_dir():
        raise PhotoError(
            f"--images: a folder of photos was wanted, or '{SAMPLES}' for the demo's; "
            f"{images} is no folder"
        )
    from onebyone.models import find_photos

    find_photos(images)
