"""What runs a network on the command line: native code, or PyTorch."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from onebyone.cli.console import print_error, tell
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

    A network that cannot be compiled runs in PyTorch, and a line on stderr says why; so does one
    for operators that have no native code.
    """
    if engine is Engine.TORCH:
        return network, engine
    import torch

    from onebyone.compiler import compile_model, describe_fallbacks  # late, because it loads LLVM

    size = card.preprocess.input_size
    tell(f"compiling for {size} x {size} pixels (kept for the next time)")
    try:
        compiled = compile_model(network, torch.zeros(1, card.preprocess.channels, size, size))
    except OneByOneError as error:
        print_error(f"it runs in PyTorch, because it cannot be compiled: {error}")
        return network, Engine.TORCH
    if compiled.fallbacks:
        print_error(describe_fallbacks(compiled.fallbacks))
    return compiled, engine
