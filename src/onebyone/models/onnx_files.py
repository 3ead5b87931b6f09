"""Networks from ONNX files, with what those say of their use."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from onebyone.errors import ModelError, OneByOneError, ShapeError
from onebyone.importing import Imported, import_onnx
from onebyone.importing.inputs import Size
from onebyone.models.card import ModelCard, give_card
from onebyone.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, MAX_SIZE, Preprocess
from onebyone.models.reference import OnnxFile
from onebyone.typed import MisfitError, read_as

TOLERANCE = 1e-5
"""Relative RMS between PyTorch and ONNX Runtime from which on a line says so."""

_RESIZED = 256 / 224
"""How much larger than what is cut out of it a photo usually is."""


class OnnxNetwork(NamedTuple):
    """A network made of a file, its card, and channels, height and width of its images."""

    network: nn.Module
    card: ModelCard
    image_shape: tuple[int, int, int]


def from_onnx(
    path: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    tolerance: float = TOLERANCE,
) -> nn.Module:
    """Make a network of an ONNX file, and try it against ONNX Runtime.

    Its layers are modules under the names that the file has for them, and it carries a card where
    it reads images. Images are `(N, C, H, W)`, in files with `(N, H, W, C)` too.

    Args:
        path: The file.
        size: Height and width for images whose size the file leaves open, or one number for both.
            A batch that the file leaves open stays open.
        tolerance: Relative root mean square between what the network and ONNX Runtime give for
            random numbers, from which on a line is logged.

    Returns:
        The network, in evaluation mode.

    Raises:
        ModelError: If the file is missing, none of ONNX, cut or damaged, has operators that cannot
            be converted, or if the network gives something else than the file (beyond 1e-3).
        ShapeError: If `size` is no size, or the file leaves open what it reads and it is not given.
        MissingPackageError: If a package is missing for it.

    Example:
        >>> import tempfile, torch
        >>> from onebyone.exporting import export
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
        >>> file = Path(tempfile.mkdtemp()) / "net.onnx"
        >>> _ = export(network, file, example=torch.zeros(1, 3, 8, 8))
        >>> from_onnx(file)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 8, 8, 8])
    """
    path, sides = Path(path), _sides(size)
    found = import_onnx(path, size=sides, tolerance=tolerance)
    if _image_shape(found) is not None:
        give_card(found.network, _card(path, sides, found))
    return found.network


def load_onnx(path: Path, *, size: Size | None = None) -> OnnxNetwork:
    """Make a network that reads images of an ONNX file.

    Raises:
        ModelError: As `from_onnx`, or if it reads something else than one image.
        OneByOneError: As `from_onnx`.
    """
    found = import_onnx(path, size=size)
    shape = _image_shape(found)
    if shape is None:
        reads = ", ".join(f"{one.name!r} {one.shape} {one.dtype}" for one in found.inputs)
        raise ModelError(
            f"{path} reads {reads}, and images, (N, C, H, W) in float32, were wanted; load other "
            "networks from Python: onebyone.from_onnx(path)"
        )
    return OnnxNetwork(found.network, _card(path, size, found), shape)


def check_photos(path: Path, image_shape: tuple[int, int, int]) -> None:
    """Check that photos can be made what a network reads: squares, in colour or in grey.

    Raises:
        ModelError: If they cannot.
    """
    channels, height, width = image_shape
    if channels not in (1, 3) or height != width or height > MAX_SIZE:
        raise ModelError(
            f"{path} reads images {channels}x{height}x{width} (channels, height, width), and "
            f"photos become squares of up to {MAX_SIZE} pixels a side, in RGB or grey; `onebyone "
            "explain` and `onebyone bench` take it as it is"
        )


def _sides(size: object) -> Size | None:
    """Return height and width, as they were given.

    Raises:
        ShapeError: If they are no sizes.
    """
    sides = (size, size) if type(size) is int else size
    match sides:
        case None:
            return None
        case (int(height), int(width)) if height > 0 and width > 0:
            return height, width
        case _:
            raise ShapeError(
                f"`size` (={size!r}) must be a height and a width, as (480, 640), one number for "
                "both, or None for the file's own"
            )


def _image_shape(found: Imported) -> tuple[int, int, int] | None:
    """Return channels, height and width of the one image that a network reads, if it does."""
    return found.inputs[0].image_shape if len(found.inputs) == 1 else None


def _card(path: Path, size: Size | None, found: Imported) -> ModelCard:
    shape = _image_shape(found)
    assert shape is not None
    return ModelCard(
        model=str(OnnxFile(path, size)),
        preprocess=_preprocess(path, found.facts, shape),
        classes=_classes(path, found.facts),
        weights=str(path),
    )


def _preprocess(path: Path, facts: Mapping[str, str], shape: tuple[int, int, int]) -> Preprocess:
    """Return how the file says that photos become its input; else ImageNet's usual way."""
    channels, height, width = shape
    told = _told(path, facts, "preprocess")
    if told is not None:
        try:
            return read_as(Preprocess, told)
        except (MisfitError, OneByOneError) as error:
            raise _damaged(path, "preprocess") from error
    side = min(max(height, width), MAX_SIZE)
    grey = channels == 1
    return Preprocess(
        input_size=side,
        resize_size=min(round(side * _RESIZED), MAX_SIZE),
        mean=(sum(IMAGENET_MEAN) / 3,) if grey else IMAGENET_MEAN,
        std=(sum(IMAGENET_STD) / 3,) if grey else IMAGENET_STD,
    )


def _classes(path: Path, facts: Mapping[str, str]) -> tuple[str, ...]:
    told = _told(path, facts, "classes")
    if told is None:
        return ()
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        raise _damaged(path, "classes")
    return tuple(told)


def _told(path: Path, facts: Mapping[str, str], name: str) -> Any:
    """Return one of the facts that `onebyone.export` writes along, if it wrote the file."""
    if "onebyone" not in facts or name not in facts:
        return None
    try:
        return json.loads(facts[name])
    except ValueError as error:
        raise _damaged(path, name) from error


def _damaged(path: Path, name: str) -> ModelError:
    return ModelError(f"{path}: its metadata {name!r} is damaged; export the network again")
