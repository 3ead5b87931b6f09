"""A user's ONNX file, read and looked over before anything is made of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from onebyone.errors import ModelError, first_line
from onebyone.packages import require

if TYPE_CHECKING:
    from onnx import ModelProto

WANTED = "an ONNX file"

_FIRST = b"\x08"
"""What every writer begins with: the tag of the first field, the version of the format."""

_POINTER = b"version https://git-lfs"


def read_model(path: Path) -> "ModelProto":
    """Read a file that is there, with all its weights.

    Raises:
        MissingPackageError: If a package is missing for it.
        ModelError: If it is none of ONNX, it is cut or damaged, or weights that it keeps in other
            files are not there.
    """
    require("reading ONNX files", "onnx", "onnxscript", "onnx2fx")
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = _parsed(path)
    _check_whole(model)
    try:
        load_external_data_for_model(model, str(path.absolute().parent))
    except Exception as error:  # its kinds have no root of their own
        raise ModelError(
            f"weights that it keeps in other files cannot be read ({first_line(error)}); put those "
            "beside it, under the names that they were written with"
        ) from error
    newest = onnx.defs.onnx_opset_version()
    opset = standard_opset(model)
    if opset > newest:
        raise ModelError(
            f"it is of opset {opset}, and the onnx package here knows up to {newest}; install a "
            "newer one: pip install --upgrade onnx"
        )
    return model


def standard_opset(model: "ModelProto") -> int:
    """Return the version of ONNX's own operators that a file counts on."""
    return next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))


def _parsed(path: Path) -> "ModelProto":
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    content = path.read_bytes()
    if content.startswith(_POINTER):
        raise ModelError(
            "it is a pointer of Git LFS in place of an ONNX file; get the file: git lfs pull"
        )
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        if content.startswith(_FIRST):
            raise ModelError(
                f"it begins as an ONNX file and ends too early ({len(content):,} bytes); "
                "it is cut or damaged: get the file again"
            ) from error
        raise ModelError(f"it is no ONNX file, and {WANTED} was wanted") from error
    return model


def _check_whole(model: "ModelProto") -> None:
    """Check that what was read is a network: parts of a file may read well by themselves."""
    if not model.ir_version:
        raise ModelError(f"it is no ONNX file, and {WANTED} was wanted")
    if not model.graph.node or not model.graph.output:
        raise ModelError("there is no network in it: it is empty, or cut; get the file again")
    if not any(one.domain in ("", "ai.onnx") for one in model.opset_import):
        raise ModelError(
            "it does not say which version of ONNX's operators it counts on: it is cut, or was "
            "written wrongly; get the file again"
        )
