"""Whether a module gives what ONNX Runtime gives for the file that it was made of."""

from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onebyone.errors import ModelError, first_line, summary
from onebyone.packages import is_installed

if TYPE_CHECKING:
    from onnx import ModelProto


def run_onnx(model: "ModelProto", inputs: Sequence[Tensor]) -> list[Tensor] | None:
    """Return what ONNX Runtime gives for a file; None if it is not installed.

    Args:
        model: The file.
        inputs: Tensors, in the order of its inputs.

    Raises:
        ModelError: If it does not run there.
    """
    if not is_installed("onnxruntime"):
        return None
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it warns of is for those who wrote the file
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = (value.name for value in session.get_inputs())
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        found = session.run(None, given)
    except Exception as error:  # its kinds have no root of their own
        raise ModelError(
            f"it does not run in ONNX Runtime ({first_line(error)}); export the network again"
        ) from error
    return [torch.from_numpy(value) for value in found]


def run_module(network: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return what a module made of a file gives, flattened.

    Raises:
        ModelError: If it fails.
    """
    try:
        # A traced graph prints its code before it raises what went wrong in it.
        with torch.inference_mode(), redirect_stderr(StringIO()):
            return tree_leaves(network(*inputs))
    except Exception as error:
        raise ModelError(
            f"what it was converted to does not run in PyTorch: {summary(error)}; name the "
            "PyTorch network that it was made from, as file.py:FUNCTION"
        ) from error


def deviation_of(
    found: Sequence[Tensor], wanted: Sequence[Tensor], resolutions: Sequence[float] = ()
) -> float:
    """Return the largest relative root mean square, of all outputs, between two runs.

    Outputs that are no numbers with a fraction, such as indices, count as the share that differs.

    Args:
        found: What a module gives.
        wanted: What ONNX Runtime gives.
        resolutions: Of each output, the RMS that its wanted numbers are known to, as
            `resolutions_of` returns; it does not count. By default 0.

    Example:
        >>> deviation_of([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 4.5])]) < 0.1
        True
        >>> deviation_of([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 4.0, 5.0])])
        inf
    """
    if [one.shape for one in found] != [one.shape for one in wanted]:
        return float("inf")
    return max(map(_deviation, found, wanted, resolutions or [0.0] * len(wanted)))


def resolutions_of(model: "ModelProto") -> list[float]:
    """Return of each output of a file how exactly ONNX Runtime gives it, as an absolute RMS.

    It computes sigmoids to some 1e-8 of 1, however small they are. Where all are small, as the
    probabilities of text in an image that has none, that is all that is seen.
    """
    sigmoids = {node.output[0] for node in model.graph.node if node.op_type == "Sigmoid"}
    return [2**-24 if one.name in sigmoids else 0.0 for one in model.graph.output]


def _deviation(found: Tensor, wanted: Tensor, resolution: float) -> float:
    if torch.equal(found, wanted):
        return 0.0  # of zeros too, to which nothing is relative
    if not wanted.is_floating_point():
        return float((found != wanted).double().mean())
    error = float((found.double() - wanted.double()).square().mean().sqrt())
    scale = float(wanted.double().square().mean().sqrt())
    if error <= resolution:
        return 0.0
    return error / scale if scale and isfinite(error) else inf
