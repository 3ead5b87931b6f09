"""How far an output is from the one in float64."""

import copy

import torch
from torch import Tensor, nn

from onebyone.bench.numerics import FP32, LARGEST_ERRORS
from onebyone.errors import ModelError, ShapeError, located_summary


def is_right(error: float, numerics: str = FP32) -> bool:
    """Return whether an output with this relative RMS is as good as the numerics can be."""
    return error <= LARGEST_ERRORS[numerics]


def run_network(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network, in its own precision and without gradients.

    Raises:
        ModelError: If it fails, or gives something else than one finite tensor.
    """
    try:
        with torch.no_grad():
            output = network(images)
    except Exception as error:
        raise ModelError(
            f"the network failed on images {tuple(images.shape)}: {located_summary(error)}"
        ) from error
    if not isinstance(output, Tensor):
        raise ModelError(f"the network gives a {type(output).__name__}; one tensor was wanted")
    if not output.isfinite().all():
        raise ModelError("the network gives numbers that are not finite; check its weights")
    return output


def float64_output(network: nn.Module, images: Tensor) -> Tensor:
    """Run a copy of a network in float64; raises as `run_network`."""
    return run_network(copy.deepcopy(network).double(), images.double())


def relative_rms(output: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the error over that of the expected output.

    Raises:
        ShapeError: If the output has another shape, or numbers that are not finite.

    Example:
        >>> relative_rms(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0]))
        0.1
    """
    if output.shape != expected.shape:
        raise ShapeError(f"its output is {tuple(output.shape)}; {tuple(expected.shape)} was wanted")
    if not output.isfinite().all():
        raise ShapeError("its output has numbers that are not finite")
    expected = expected.double()
    error, scale = (output.double() - expected).norm(), expected.norm()
    return float(error / scale) if scale else float(error)
