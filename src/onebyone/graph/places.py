"""Which module is running: it stands in the interpreter's own stack.

Hooks would tell it as well, but PyTorch's global ones are seen by every thread, and one on a module
would edit the user's network.
"""

import inspect
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import Any

from torch import nn

_CALL = nn.Module._call_impl.__code__  # pyright: ignore[reportPrivateUsage]
"""The code that every module's `forward` is called from."""


class Places:
    """Name the modules of a network that are at work.

    Args:
        network: What is run; anything but a module has no names.
    """

    def __init__(self, network: object) -> None:
        modules = network.named_modules() if isinstance(network, nn.Module) else ()
        self._names = {id(module): name for name, module in modules}

    def running(self) -> str:
        """Return the path of the innermost module that this is called from, or ""."""
        return self._first(_outwards(inspect.currentframe()))

    def of_error(self, error: BaseException) -> str:
        """Return the path of the innermost module that an error came out of, or ""."""
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return self._first(reversed(frames))

    def _first(self, frames: Iterable[FrameType]) -> str:
        if not self._names:
            return ""
        modules = (frame.f_locals["self"] for frame in frames if frame.f_code is _CALL)
        return next((self._names[id(one)] for one in modules if id(one) in self._names), "")


def _outwards(frame: FrameType | None) -> Any:
    while frame is not None:
        yield frame
        frame = frame.f_back
