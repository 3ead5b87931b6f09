"""What a user hands over to be compiled: a network, and an example of its arguments."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.model import CompiledModel
from onebyone.errors import CompileError, ModelError
from onebyone.graph.example import WANTED_MODEL, check_network, example_arguments


def check_model(model: object) -> Callable[..., Any]:
    """Return what is to be compiled, if it is a network or a function.

    Raises:
        ModelError: If it is neither, or compiled already.
    """
    if isinstance(model, CompiledModel):
        raise ModelError(f"{WANTED_MODEL}; got one that is compiled already, {model!r}")
    return check_network(model)


def compile_arguments(
    example: object, kwargs: object = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that an example stands for, as `example_arguments` does.

    Raises:
        CompileError: If PyTorch is in a mode in which tensors have no numbers.
    """
    arguments = example_arguments(example, kwargs)
    if type(torch.empty(0)) is not Tensor:
        raise CompileError(
            "tensors that are made here have no numbers (a FakeTensorMode is on); compile the "
            "network before it is entered"
        )
    return arguments
