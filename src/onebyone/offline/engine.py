"""What runs a network: native code, or PyTorch."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from onebyone.errors import OneByOneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from onebyone.models import ModelCard


class Engine(StrEnum):
    """What runs the network."""

    COMPILED = "compiled"
    TORCH = "torch"


@dataclass(frozen=True, slots=True)
class ReadyEngine:
    """A network that is ready to be called.

    Attributes:
        call: Takes one prepared photo as a batch of one, and returns its scores.
        engine: What runs it.
        notice: What a user should know, in one line: that it, or a part of it, runs in PyTorch and
            not as it was asked for; "" if there is nothing to tell.
    """

    call: "Callable[[Tensor], Any]"
    engine: Engine
    notice: str = ""


def prepare_engine(
    network: "nn.Module", card: "ModelCard", engine: Engine, *, threads: int | None = None
) -> ReadyEngine:
    """Compile a network for one photo at a time, if that is asked for and can be done.

    Args:
        network: In evaluation mode.
        card: Says of which size photos are.
        engine: What should run it.
        threads: Threads that native code runs on; all cores at hand if None.
    """
    if engine is Engine.TORCH:
        return ReadyEngine(network, engine)
    import torch

    from onebyone.compiler import compile_model, describe_fallbacks  # late, because it loads LLVM

    size = card.preprocess.input_size
    example = torch.zeros(1, card.preprocess.channels, size, size)
    try:
        compiled = compile_model(network, example, threads=threads)
    except OneByOneError as error:
        why = f"it runs in PyTorch, because it cannot be compiled: {error}"
        return ReadyEngine(network, Engine.TORCH, why)
    notice = describe_fallbacks(compiled.fallbacks) if compiled.fallbacks else ""
    return ReadyEngine(compiled, engine, notice)
