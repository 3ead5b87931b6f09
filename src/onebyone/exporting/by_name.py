"""`onebyone.export`: a network, or its name, in; a file for other programs out."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from onebyone.errors import ModelError, ShapeError, UnknownNameError
from onebyone.exporting.formats import check_format
from onebyone.exporting.native_folder import plan_native, write_native
from onebyone.exporting.onnx_file import to_onnx
from onebyone.exporting.package_file import to_package
from onebyone.exporting.subject import example_images, read_network
from onebyone.exporting.written import Exported, deviation_of
from onebyone.files import replacing
from onebyone.models.card import ModelCard
from onebyone.packages import require

WRITERS = {"onnx": to_onnx, "pt2": to_package}

MOST_DEVIATION = 1e-3
"""A file that gives something further from its network is refused; rounding comes to some 1e-6."""


def export(
    model: nn.Module | str | Path,
    out: str | Path,
    *,
    to: str | None = None,
    weights: str | Path | None = None,
    example: Tensor | None = None,
    batch: int | tuple[int, ...] | Literal["any"] = 1,
    **native: Any,
) -> Exported:
    """Write a network for other programs; the file is tried against it before it is there.

    How photos become its input, and the names of its classes, are written along where they are
    known: in ONNX as metadata, in `.pt2` as extra files; "preprocess" and "classes", both JSON. A
    library has mean, deviation and classes for whoever asks.

    Args:
        model: A network, or what `onebyone.load_model` takes.
        out: The file, or the folder of a library; it is replaced if it is there.
        to: "onnx", "pt2" or "native", a library without Python; by default what the file is called
            after.
        weights: As for `load_model`; by default the model's own.
        example: One image that a given network reads, `(1, C, H, W)`; by default what its card
            says.
        batch: Images in a call; "any" for any number of them. A library may also have code for
            several numbers, as (1, 8, 32); see `plan_native`.
        native: For a library: `targets`, `name`, `embed`, `numerics` and `cc`, as `plan_native` and
            `write_native` take them.

    Returns:
        What was written, and how far it is from the network.

    Raises:
        UnknownNameError: If it is another format.
        ShapeError: If nobody says what the network reads.
        ModelError: If the network cannot be written so, or the file gives something else.
        MissingPackageError: If a package is missing for it.
        OneByOneError: As `load_model`.
    """
    out = Path(out)
    to = check_format(out, to)
    if to == "native":
        cc = native.pop("cc", None)
        plan = plan_native(model, out, weights=weights, example=example, batch=batch, **native)
        return write_native(plan, out, cc=cc)
    if native:
        raise UnknownNameError(f"`{next(iter(native))}` is for libraries: to='native'")
    if not isinstance(batch, int | str):
        raise ShapeError(
            f"`batch` (={batch!r}): several numbers of images are for libraries (to='native'); "
            "give one, or 'any'"
        )
    if to == "onnx":
        require("writing ONNX", "onnx", "onnxscript")
    network, card = read_network(model, weights)
    images = example_images(network, card, example, batch)
    any_batch = batch == "any"
    content = WRITERS[to](network, images, any_batch=any_batch, facts=_facts(card))
    deviation = deviation_of(content, to, network, images)
    if deviation is not None and not deviation <= MOST_DEVIATION:
        raise ModelError(
            f"what torch wrote as {to} gives something else than the network (relative RMS "
            f"{deviation:.1e}); nothing was written"
        )
    try:
        with replacing(out) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ModelError(f"cannot write {out} ({error.strerror})") from error
    count = 0 if any_batch else len(images)
    return Exported(
        out=out,
        format=to,
        size_bytes=len(content),
        shape=(count, *images.shape[1:]),
        deviation=deviation,
    )


def _facts(card: ModelCard | None) -> dict[str, str]:
    facts = {"onebyone": version("onebyone")}
    if card is None:
        return facts
    facts |= {"preprocess": json.dumps(asdict(card.preprocess))}
    if card.classes:
        facts["classes"] = json.dumps(list(card.classes))
    return facts
