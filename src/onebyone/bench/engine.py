"""What an engine is to the benchmark."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from onebyone.bench.numerics import FP32, label

Runner = Callable[[Tensor], Tensor]
"""A network made ready: float32 images, `(N, 3, H, W)`, in, and scores out.

What comes out may be overwritten by the next call.
"""

Build = Callable[[nn.Module, Tensor, int], Runner]
"""Makes a network ready for images of the example's shape and a number of threads.

It leaves the network alone, and may fail with whatever error the engine has.
"""


def no_remark(runner: Runner) -> str:  # noqa: ARG001
    """Say nothing."""
    return ""


@dataclass(frozen=True, slots=True)
class Engine:
    """One way of running a network.

    Args:
        name: What it is called.
        build: Makes a network ready for it.
        remark: Says in a line what one must know of a network made ready, or nothing.
        numerics: What it computes with, one of `LARGEST_ERRORS`.
    """

    name: str
    build: Build
    remark: Callable[[Runner], str] = no_remark
    numerics: str = FP32

    @property
    def label(self) -> str:
        """What it is called in a comparison, beside itself with other numerics."""
        return label(self.name, self.numerics)
