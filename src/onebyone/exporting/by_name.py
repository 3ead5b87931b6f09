"""`onebyone.export`: a network, or its name, in; a file for other programs out."""

import copy
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from onebyone.errors import ModelError, ShapeError
from onebyone.exporting.formats import check_format
from onebyone.exporting.onnx_file import to_onnx
from onebyone.exporting.package_file import to_package
from onebyone.exporting.written import Exported, deviation_of
from onebyone.files import replacing
from onebyone.models.card import ModelCard, card_of
from onebyone.models.reference import default_weights
from onebyone.models.resolve import load_model
from onebyone.packages import require

WRITERS = {"onnx": to_onnx, "pt2": to_package}

TRIED = 2
"""Images that a file is tried on that takes any number; torch would take one as meant."""

MOST_DEVIATION = 1e-3
"""A file that gives something further from its network is refused; rounding comes to some 1e-6."""


def export(
    model: nn.Module | str | Path,
    out: str | Path,
    *,
    to: str | None = None,
    weights: str | Path | None = None,
    example: Tensor | None = None,
    batch: int | Literal["any"] = 1,
) -> Exported:
    """Write a network for other programs; the file is tried against it before it is there.

    How photos become its input, and the names of its classes, are written along where they are
    known: in ONNX as metadata, in `.pt2` as extra files; "preprocess" and "classes", both JSON.

    Args:
        model: A network, or what `onebyone.load_model` takes.
        out: The file; it is replaced if it is there.
        to: "onnx" or "pt2"; by default what the file is called after.
        weights: As for `load_model`; by default the model's own.
        example: One image that a given network reads, `(1, C, H, W)`; by default what its card
            says.
        batch: Images in a call; "any" for any number of them.

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
    if to == "onnx":
        require("writing ONNX", "onnx", "onnxscript")
    network, card = _read(model, weights)
    images = _images(network, card, example, batch)
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


def _read(
    model: nn.Module | str | Path, weights: str | Path | None
) -> tuple[nn.Module, ModelCard | None]:
    if isinstance(model, nn.Module):
        return copy.deepcopy(model).eval(), card_of(model)  # the user's stays as it was
    network, card = load_model(model, weights=weights or default_weights(str(model)))
    return network, card


def _images(
    network: nn.Module,
    card: ModelCard | None,
    example: Tensor | None,
    batch: int | Literal["any"],
) -> Tensor:
    """Return images like those that the network will read, of random numbers."""
    if batch != "any" and batch < 1:
        raise ShapeError(f"`batch` (={batch}) must be 1 or more, or 'any'")
    if example is not None:
        shape, dtype = tuple(example.shape[1:]), example.dtype
    elif card is not None:
        side = card.preprocess.input_size
        shape, dtype = (card.preprocess.channels, side, side), torch.float32
    else:
        raise ShapeError(
            f"nobody says what {type(network).__name__} reads; give an example: "
            "onebyone.export(network, file, example=torch.randn(1, 3, 224, 224))"
        )
    count = TRIED if batch == "any" else batch
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator).to(dtype)


def _facts(card: ModelCard | None) -> dict[str, str]:
    facts = {"onebyone": version("onebyone")}
    if card is None:
        return facts
    facts |= {"preprocess": json.dumps(asdict(card.preprocess))}
    if card.classes:
        facts["classes"] = json.dumps(list(card.classes))
    return facts
