"""The formats that networks are written in."""

from pathlib import Path
from typing import Literal, get_args

from onebyone.errors import ModelError, UnknownNameError, check_choice

Format = Literal["onnx", "pt2", "native"]

FORMATS: tuple[Format, ...] = get_args(Format)


def check_format(out: Path, to: str | None) -> Format:
    """Return the format of a file that is wanted.

    Raises:
        UnknownNameError: If there is no such format.
        ModelError: If the file cannot be there.
    """
    wanted = to or out.suffix.removeprefix(".")
    if to is None and wanted not in ("onnx", "pt2"):
        raise UnknownNameError(
            "a file called .onnx or .pt2 was wanted, or a format of 'onnx', 'pt2' or 'native'; "
            f"got {out}"
        )
    check_choice("format", wanted, FORMATS)
    if wanted == "native":
        if not out.absolute().parent.is_dir() or out.is_file():
            raise ModelError(f"a folder in a folder that is there was wanted; got {out}")
        return "native"
    if not out.absolute().parent.is_dir():
        raise ModelError(f"a file in a folder that is there was wanted; got {out}")
    if out.is_dir():
        raise ModelError(f"a file to write was wanted; {out} is a folder")
    return "onnx" if wanted == "onnx" else "pt2"
