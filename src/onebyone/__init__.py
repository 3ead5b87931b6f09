"""OneByOne: a PyTorch toolkit and CPU compiler for the 1x1 (pointwise) convolutions in a CNN."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from onebyone.errors import OneByOneError
from onebyone.models import create_model, load, load_model, open_photo, predict, save

if TYPE_CHECKING:
    from onebyone.compiler import CompiledModel

__version__ = version("onebyone")


def compile(  # noqa: A001
    model: torch.nn.Module, example: Any, *, threads: int | None = None, numerics: str = "fp32"
) -> "CompiledModel":
    """Compile a network for this machine's CPU; all about it stands at `compile_model`."""
    from onebyone.compiler import compile_model  # late, because it loads LLVM

    return compile_model(model, example, threads=threads, numerics=numerics)


__all__ = [
    "OneByOneError",
    "__version__",
    "compile",
    "create_model",
    "load",
    "load_model",
    "open_photo",
    "predict",
    "save",
]
