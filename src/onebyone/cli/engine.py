"""What runs a network on the command line: native code, or PyTorch."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from onebyone.cli.console import tell
from onebyone.errors import OneByOneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from onebyone.models import ModelCard


class Engine(StrEnum):
    """What runs the network."""

    COMPILED = "compiled"
    TORCH = "torch"


def start_engine(
    network: "nn.Module", card: "ModelCard", engine: Engine
) -> "tuple[Callable[[Tensor], Any], Engine]":
    """Return what to call with one prepared photo, and which engine it is.

    A network that cannot be compiled runs in PyTorch, and a line says why.
    """
    if engine is Engine.TORCH:
        return network, engine
    import torch

    from onebyone.compiler import compile_model  # late, because it loads LLVM

    size = card.preprocess.input_size
    tell(f"compiling for {size} x {size} pixels (kept for the next time)")
    try:
        return compile_model(network, torch.zeros(1, 3, size, size)), engine
    except OneByOneError as error:
        tell(f"it runs in PyTorch, because it cannot be compiled: {error}")
        return network, Engine.TORCH
