"""What native code does, as data.

A kernel says which body of machine code runs; equal kernels share one body. A work record holds the
numbers that one operation hands to it: places, strides, counts. An operation joins the two, and
says into how many chunks, independent of each other, it is cut for the threads.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(ABC):
    """Stand at the root of all kernels: what makes one body of code different from another."""

    @abstractmethod
    def write(self, code: Code, record: Record) -> None:
        """Write the body, which does one chunk of the work that a record describes."""

    @property
    def symbol(self) -> str:
        """Name of the function in the object file."""
        name = type(self).__name__.removesuffix("Kernel").lower()
        return f"{name}_{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One entry of the program.

    Args:
        name: Of the graph's node that it computes; that and a word, which no node's name has, if it
            only helps to.
        path: Module of that node.
        what: What it is, in the words of the field: "1x1 convolution"; what it is for, such as
            "border", if it only helps to compute the node.
        kernel: Body of code.
        work: Numbers for it.
        chunks: Parts that may run at the same time, on any thread and in any order.
        reads: Names of the buffers it reads.
        writes: Name of the buffer that it writes to.
        stages: Operations that it consists of, if it is a band.
        scratch: Floats that a thread needs for itself while it works on a chunk.
        macs: Multiply-adds, for all images.
        note: What a profile should say of how it is done.
    """

    name: str
    path: str
    what: str
    kernel: Kernel
    work: Work
    chunks: int
    reads: tuple[str, ...]
    writes: str
    stages: "tuple[Operation, ...]" = ()
    scratch: int = 0
    macs: int = 0
    note: str = ""
