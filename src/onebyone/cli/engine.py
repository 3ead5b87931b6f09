"""What runs a network on the command line, and what a person is told of it."""

from typing import TYPE_CHECKING, Any

from onebyone.cli.console import print_error, tell
from onebyone.offline.engine import Engine, prepare_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from onebyone.models import ModelCard

__all__ = ["Engine", "start_engine"]


def start_engine(
    network: "nn.Module", card: "ModelCard", engine: Engine
) -> "tuple[Callable[[Tensor], Any], Engine]":
    """Return what to call with one prepared photo, and which engine it is.

    A network that cannot be compiled runs in PyTorch, and a line on stderr says why; so does one
    for operators that have no native code.
    """
    if engine is Engine.COMPILED:
        size = card.preprocess.input_size
        tell(f"compiling for {size} x {size} pixels (kept for the next time)")
    ready = prepare_engine(network, card, engine)
    if ready.notice:
        print_error(ready.notice)
    return ready.call, ready.engine
