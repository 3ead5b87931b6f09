"""One native function with its memory: tensors in, tensors out."""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from onebyone.compiler.abi import INPUT_WORDS, TIMING_WORDS, BaseWord, ContextWord, counter_words
from onebyone.compiler.jit import Loaded
from onebyone.compiler.memory.pages import empty_pages
from onebyone.compiler.runtime.pool import pool_of, retire, spin_count
from onebyone.errors import ShapeError
from onebyone.graph import Shape, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What machine code does for images of one shape.

    Args:
        groups: How many groups it has.
        operations: How many operations those have in all.
        arena_size: Floats of working memory.
        inputs: Shapes that it takes.
        outputs: Shapes that it gives, and how each is shown.
    """

    groups: int
    operations: int
    arena_size: int
    inputs: tuple[Shape, ...]
    outputs: tuple[tuple[Shape, View], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A network that has been compiled, as it lies in the cache.

    Args:
        loaded: Machine code: the function `run`, and `prepare`, which resets its counters.
        scratch_size: Floats of each thread's own memory.
        constants: Packed weights and tables.
        programs: What it does for each shape of images.
        code: The machine code as a file has it.
    """

    loaded: Loaded
    scratch_size: int
    constants: Tensor
    programs: tuple[Program, ...]
    code: bytes = field(repr=False)


class Memory:
    """What calls of a binary work in, one after the other, whichever of its programs they are of.

    Attributes:
        binary: What is called.
        threads: Threads that run it.
    """

    def __init__(self, binary: Binary, threads: int) -> None:
        self.binary = binary
        self.threads = threads
        self._arena = empty_pages(4 * max(program.arena_size for program in binary.programs))
        self._scratch = empty_pages(4 * threads * binary.scratch_size)

    def addresses(self) -> dict[BaseWord, int]:
        """Return where the parts of the memory begin."""
        return {
            BaseWord.ARENA: self._arena.data_ptr(),
            BaseWord.SCRATCH: self._scratch.data_ptr(),
            BaseWord.CONSTANTS: self.binary.constants.data_ptr(),
        }

    @property
    def bytes(self) -> int:
        """Memory of the constants, of the arena, and of all threads' own."""
        working = self._arena.numel() + self._scratch.numel()
        return 4 * (self.binary.constants.numel() + working)


class NativeFunction:
    """Call a program with tensors of the shapes it was compiled for, float32 on the CPU.

    Args:
        memory: Of the binary; functions of its other programs may work in the same.
        number: Of the program.
    """

    def __init__(self, memory: Memory, number: int = 0) -> None:
        binary, threads = memory.binary, memory.threads
        self.memory = memory
        self.program = binary.programs[number]
        tensors = INPUT_WORDS * len(self.program.inputs) + len(self.program.outputs)
        self._bases = (ctypes.c_int64 * (BaseWord.FIRST_TENSOR + tensors))()
        for base, address in memory.addresses().items():
            self._bases[base] = address
        self._counters = _counters(self.program.groups * counter_words(threads) + 8)
        words = {
            ContextWord.RUN: binary.loaded.addresses["run"],
            ContextWord.PREPARE: binary.loaded.addresses["prepare"],
            ContextWord.BASES: ctypes.addressof(self._bases),
            # Each group's counters have a cache line of their own.
            ContextWord.COUNTERS: -(-self._counters.data_ptr() // 64) * 64,
            ContextWord.THREADS: threads,
            ContextWord.SPINS: spin_count(),
            ContextWord.PROGRAM: number,
        }
        self._context = (ctypes.c_int64 * len(ContextWord))()
        for word, value in words.items():
            self._context[word] = value
        self._address = ctypes.addressof(self._context)
        kept = (self._context, self._bases, self._counters, memory)
        weakref.finalize(self, _retire, threads, self._address, kept)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run once and return new tensors."""
        return self._run(inputs, None)

    def timed(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Run once; return also the times `(operations, threads, 3)` in nanoseconds.

        They are the first start, the last end, and the time that the thread was busy; 0 for a
        thread that had no part in an operation.
        """
        timings = _counters(self.program.operations, self.memory.threads, TIMING_WORDS)
        return self._run(inputs, timings), timings

    def _run(self, inputs: Sequence[Tensor], timings: Tensor | None) -> list[Tensor]:
        outputs = [_empty(*shape) for shape, _ in self.program.outputs]
        pool = pool_of(self.memory.threads)
        with pool.lock:
            position = BaseWord.FIRST_TENSOR
            for tensor in inputs:
                address = tensor.data_ptr()
                if not address:
                    raise ShapeError("an input has no memory; its storage has been emptied")
                self._bases[position] = address
                self._bases[position + 1 : position + INPUT_WORDS] = tensor.stride()
                position += INPUT_WORDS
            for tensor in outputs:
                self._bases[position] = tensor.data_ptr()
                position += 1
            self._context[ContextWord.PROFILE] = 0 if timings is None else timings.data_ptr()
            pool.run(self._address)
        views = (view for _, view in self.program.outputs)
        return [show(tensor, view) for tensor, view in zip(outputs, views, strict=True)]


def _empty(*shape: int) -> Tensor:
    """Return memory for numbers, whatever PyTorch's defaults have been set to."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _counters(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64, device="cpu")


def show(tensor: Tensor, view: View) -> Tensor:
    """Show a value `(N, C, H, W)` the way its reader wants it."""
    if view is View.NC:
        return tensor.flatten(1)
    return tensor.permute(0, 2, 3, 1) if view is View.NHWC else tensor


def _retire(threads: int, address: int, _memory: tuple[object, ...]) -> None:
    """Keep the memory until no worker can be inside it."""
    retire(threads, address)
