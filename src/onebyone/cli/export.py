"""`onebyone export`: a network as a file for other programs, or as a library for C."""

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onebyone.cli.console import print_json, stdout, tell
from onebyone.errors import ShapeError, UnknownNameError

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
        Path,
        typer.Option(
            metavar="FILE|DIR", help="The file, such as net.onnx or net.pt2; a library's folder."
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="onnx, pt2, or native for a C library; by default what the file is called after.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a file, or a hub repository; by default the model's own."),
    ] = None,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N|N,N|any",
            help="Images in a call; 'any' for any number. native: those at once, such as 1,8,32.",
        ),
    ] = "1",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T,T",
            help="native: processors, such as avx512,avx2,baseline or neon; by default this one.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="native: what functions begin with; by default the folder's name."),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="native: the weights lie inside the library.")
    ] = False,
    numerics: Annotated[
        str | None, typer.Option(help="native: what results promise, fp32, fp32-direct or bf16.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a network as ONNX, as PyTorch's package or as a library for C.

    It is tried against the network before. How photos become its input, and the names of its
    classes, are written along. A library is compiled with the command in CC, or the system's.
    """
    count = _count(batch)
    native = _native_options(target, name, embed, numerics)
    _check(model, out, to, native, count)
    tell(f"loading {model}")
    if to == "native":
        _export_native(model, out, as_json, weights=weights, batch=count, **native)
        return
    from onebyone.exporting import export as export_by_name

    with redirect_stdout(sys.stderr):  # what a user's file prints is no part of the result
        found = export_by_name(model, out, to=to, weights=weights, batch=count)
    print_json(found.to_json()) if as_json else _show(found)


def _count(batch: str) -> int | tuple[int, ...] | Literal["any"]:
    if batch == "any":
        return batch
    words = batch.split(",")
    if not all(word.isdecimal() and int(word) for word in words) or len({*words}) < len(words):
        raise ShapeError(
            f"--batch: a number of images, several, such as 1,8,32, or 'any', was wanted; got "
            f"{batch!r}"
        )
    return tuple(map(int, words)) if len(words) > 1 else int(batch)


def _native_options(
    target: str | None, name: str | None, embed: bool, numerics: str | None
) -> dict[str, Any]:
    """Return the options that were given and are for libraries only."""
    options = {
        "targets": tuple(target.split(",")) if target is not None else None,
        "name": name,
        "embed": embed or None,
        "numerics": numerics,
    }
    return {key: value for key, value in options.items() if value is not None}


def _export_native(model: str, out: Path, as_json: bool, **options: Any) -> None:
    """Plan, print, and write."""
    from onebyone.exporting import plan_native, write_native

    with redirect_stdout(sys.stderr):
        plan = plan_native(model, out, **options)
    if not as_json:
        stdout().print(str(plan), soft_wrap=True)
    with redirect_stdout(sys.stderr):
        found = write_native(plan, out, cc=os.environ.get("CC"))
    print_json(found.to_json() | plan.to_json()) if as_json else _show(found)


def _check(model: str, out: Path, to: str | None, native: Mapping[str, Any], batch: object) -> None:
    """Find what is wrong in the arguments, before anything heavy is loaded.

    Raises:
        OneByOneError: If something is.
    """
    from onebyone.compiler.library.names import check_name
    from onebyone.compiler.target import find_target
    from onebyone.exporting.formats import check_format
    from onebyone.models.reference import check_reference

    is_native = check_format(out, to) == "native"
    if not is_native and isinstance(batch, tuple):
        raise ShapeError("--batch: several numbers of images are for libraries: --to native")
    if not is_native and native:
        name = {"targets": "target"}.get(first := next(iter(native)), first)
        raise UnknownNameError(f"--{name} is for libraries: --to native")
    for one in native.get("targets", ()):
        find_target(one)
    if "name" in native:
        check_name(native["name"])
    check_reference(model)


def _show(found: "Exported") -> None:
    count, channels, height, width = found.shape
    stdout().print(
        f"{found.out}: {found.format}, {found.size_bytes / 1e6:.1f} MB, reads "
        f"{count or 'any number of'} image{'' if count == 1 else 's'} {channels}x{height}x{width}",
        soft_wrap=True,
    )
    if found.deviation is None and found.format == "native":
        stdout().print("It was not tried: this is another processor; its self-test is in there.")
    elif found.deviation is None:
        stdout().print("It was not tried: onnxruntime is not installed.")
    else:
        stdout().print(f"Tried: relative RMS {found.deviation:.1e} from what the network gives.")
