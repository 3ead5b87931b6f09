"""Whether a module gives what ONNX Runtime gives for the file that it was made of."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onebyone.errors import ModelError, first_line, summary

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
    if find_spec("onnxruntime") is None:
        return None
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = 4  # what it warns of is for those who wrote the file
    try:
        session = InferenceSession(
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
        with torch.inference_mode():
            return tree_leaves(network(*inputs))
    except Exception as error:
        raise ModelError(
            f"what it was converted to does not run in PyTorch: {summary(error)}; name the "
            "PyTorch network that it was made from, as file.py:FUNCTION"
        ) from error


def deviation_of(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the largest relative root mean square, of all outputs, between two runs.

    Outputs that are no numbers with a fraction, such as indices, count as the share that differs.
    Where both give what is no number, or both are zero, they agree.

    Example:
        >>> deviation_of([torch.tensor([1.0, 2.0])], [torch.tensor([1.0, 2.0])])
        0.0
    """
    if [tuple(one.shape) for one in found] != [tuple(one.shape) for one in wanted]:
        return float("inf")
    return max(map(_deviation, found, wanted))


def _deviation(found: Tensor, wanted: Tensor) -> float:
    if not wanted.is_floating_point():
        return float((found != wanted).double().mean()) if wanted.numel() else 0.0
    found, wanted = found.double(), wanted.double()
    if torch.equal(found.nan_to_num(), wanted.nan_to_num()):
        return 0.0
    error = float((found - wanted).norm() / wanted.norm())
    return error if error == error else float("inf")  # noqa: PLR0124  (it is no number)
