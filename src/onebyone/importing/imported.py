"""From an ONNX file to a module that gives what ONNX Runtime gives: `import_onnx`."""

import logging
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from onebyone.errors import ModelError, located
from onebyone.files import check_file
from onebyone.importing.batch import open_batch, takes_any_batch
from onebyone.importing.check import deviation_of, resolutions_of, run_module, run_onnx
from onebyone.importing.convert import OnnxNetwork, convert, finish_inputs
from onebyone.importing.file import WANTED, read_model
from onebyone.importing.inputs import Input, Size, fix_inputs
from onebyone.importing.names import Origins
from onebyone.importing.operators import check_operators, count_operators
from onebyone.importing.simplify import simplify

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = 1e-5
"""Relative RMS between PyTorch and ONNX Runtime from which on a line says so."""

MOST_DEVIATION = 1e-3
"""A module that gives something further from its file is refused; rounding comes to some 1e-6."""

_LOG = logging.getLogger("onebyone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A network that was made of an ONNX file.

    Attributes:
        network: In evaluation mode; images are `(N, C, H, W)`, whatever they are in the file.
        inputs: What it reads, as the file has it; but for the batch, if that can be any.
        operators: How often each operator occurs in the file.
        deviation: Largest relative root mean square between what the network and ONNX Runtime give
            for random numbers; None if ONNX Runtime is not installed.
        facts: The file's metadata.
    """

    network: OnnxNetwork
    inputs: tuple[Input, ...]
    operators: Counter[str]
    deviation: float | None
    facts: Mapping[str, str]


def import_onnx(path: Path, *, size: Size | None = None, tolerance: float = TOLERANCE) -> Imported:
    """Make a module of an ONNX file, and try it against ONNX Runtime.

    Args:
        path: The file.
        size: Height and width for images whose size the file leaves open.
        tolerance: Deviation from ONNX Runtime from which on a line is logged.

    Raises:
        ModelError: If the file cannot be read or converted, or the module gives something else.
        ShapeError: If what it reads is left open, and not given.
        MissingPackageError: If a package is missing for it.
    """
    check_file(path, WANTED, ModelError)
    with located(str(path)):
        model = read_model(path)
        check_operators(model)
        inputs = fix_inputs(model, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages, about the file's way of saying things
            network, inputs = _converted(model, inputs)
        images = [one.example() for one in inputs]
        deviation = _tried(model, network, images, tolerance, str(path))
        finish_inputs(network, inputs, str(path))
    return Imported(
        network=network,
        inputs=inputs,
        operators=count_operators(model),
        deviation=deviation,
        facts={one.key: one.value for one in model.metadata_props},
    )


def _converted(
    model: "ModelProto", inputs: tuple[Input, ...]
) -> tuple[OnnxNetwork, tuple[Input, ...]]:
    """Return a file's network, and what it reads: any number of images, if it can be made so."""
    origins = Origins.of(model)
    if len(inputs) == 1 and inputs[0].image_shape and not inputs[0].any_batch:
        (images,) = inputs
        try:
            network = convert(_simple(open_batch(model, images)), origins)
        except Exception as error:  # nothing is lost: the file's own way is left
            _LOG.debug("the batch stays fixed: %r", error)
        else:
            if takes_any_batch(network, images):
                return network, (replace(images, any_batch=True),)
    return convert(_simple(model), origins), inputs


def _simple(model: "ModelProto") -> "ModelProto":
    """Return a file's network simplified, or as it is where that is not possible."""
    try:
        return simplify(model)
    except Exception as error:  # onnxscript has no errors of its own
        _LOG.debug("not simplified: %r", error)
        return model


def _tried(
    model: "ModelProto", network: OnnxNetwork, images: list[Tensor], tolerance: float, name: str
) -> float | None:
    """Return how far a network is from its file, and say so if that is further than wanted."""
    wanted = run_onnx(model, images)  # first: it may be the file that does not run
    found = run_module(network, images)
    if wanted is None:
        _LOG.warning("%s: not tried against ONNX Runtime: onnxruntime is not installed", name)
        return None
    deviation = deviation_of(found, wanted, resolutions_of(model))
    if not deviation <= MOST_DEVIATION:
        raise ModelError(
            f"what it was converted to gives something else than ONNX Runtime (relative RMS "
            f"{deviation:.1e}); name the PyTorch network that it was made from, as file.py:FUNCTION"
        )
    if deviation > tolerance:
        _LOG.warning(
            "%s: what it was converted to is further from ONNX Runtime than wanted: relative RMS "
            "%.1e, and at most %.0e was",
            name,
            deviation,
            tolerance,
        )
    return deviation
