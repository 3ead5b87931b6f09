"""`onebyone export`: a network as a file for other programs."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onebyone.cli.console import print_json, stdout, tell
from onebyone.errors import ShapeError

if TYPE_CHECKING:
    from onebyone.exporting import Exported


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo name, timm:NAME, torchvision:NAME, file.py:factory, net.onnx, or a "
            "checkpoint.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The file, such as net.onnx or net.pt2.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="onnx or pt2; by default what the file is called after."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a file, or a hub repository; by default the model's own."),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="N|any", help="Images in a call; 'any' for any number.")
    ] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a network as ONNX or as PyTorch's package, tried against the network before.

    How photos become its input, and the names of its classes, are written along.
    """
    count = _count(batch)
    _check(model, out, to)
    tell(f"loading {model}")
    from onebyone.exporting import export as export_by_name

    with redirect_stdout(sys.stderr):  # what a user's file prints is no part of the result
        found = export_by_name(model, out, to=to, weights=weights, batch=count)
    print_json(found.to_json()) if as_json else _show(found)


def _count(batch: str) -> int | Literal["any"]:
    if batch == "any":
        return batch
    if not batch.isdecimal() or int(batch) < 1:
        raise ShapeError(f"--batch: a number of images, or 'any', was wanted; got {batch!r}")
    return int(batch)


def _check(model: str, out: Path, to: str | None) -> None:
    """Find what is wrong in the arguments, before anything heavy is loaded.

    Raises:
        OneByOneError: If something is.
    """
    from onebyone.exporting.formats import check_format
    from onebyone.models.reference import check_reference

    check_format(out, to)
    check_reference(model)


def _show(found: "Exported") -> None:
    count, channels, height, width = found.shape
    stdout().print(
        f"{found.out}: {found.format}, {found.size_bytes / 1e6:.1f} MB, reads "
        f"{count or 'any number of'} image{'' if count == 1 else 's'} {channels}x{height}x{width}",
        soft_wrap=True,
    )
    if found.deviation is None:
        stdout().print("It was not tried: onnxruntime is not installed.")
    else:
        stdout().print(f"Tried: relative RMS {found.deviation:.1e} from what the network gives.")
