"""Packed weights and tables, in the order in which the network reads them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.memory.arena import SLACK, aligned
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.memory.formats import FLOAT_BYTES, FP32, Format
from onebyone.compiler.memory.pages import empty_pages


@dataclass(slots=True)
class Constants:
    """Lay out tensors (float32, int32 or halves) in one block of memory, each at a cache line.

    Where they lie is known at once. Their numbers are computed when the block is made, so that
    code which reads them can be made meanwhile, and each is in memory only once.

    Args:
        offsets: Float at which each tensor starts.
        size: Floats up to the end of the last one.
    """

    offsets: dict[str, int] = field(default_factory=dict)
    size: int = 0
    _packs: dict[str, tuple[int, Callable[[], Tensor]]] = field(default_factory=dict, repr=False)
    _known: dict[bytes, str] = field(default_factory=dict, repr=False)
    _packed: dict[tuple[object, ...], tuple[Place, tuple[object, ...]]] = field(
        default_factory=dict, repr=False
    )
    """By facts; they are kept, so that no other tensor gets the same `id`."""

    def add(
        self, size: int, pack: Callable[[], Tensor], *facts: object, numbers: Format = FP32
    ) -> Place:
        """Make room for a tensor of `size` numbers, which `pack` will return; return its place.

        If there are `facts`, the numbers follow from them alone: who comes with the same ones gets
        the same place. Of tensors only the very same one is the same.
        """
        if not facts:
            return self._place(size, pack, numbers)
        key = (
            size,
            numbers,
            *(id(fact) if isinstance(fact, Tensor) else fact for fact in facts),
        )
        if key not in self._packed:
            self._packed[key] = self._place(size, pack, numbers), facts
        return self._packed[key][0]

    def _place(self, size: int, pack: Callable[[], Tensor], numbers: Format = FP32) -> Place:
        name = f"packed {len(self._packs)}"  # no node has a name like this
        self._packs[name] = size, pack
        self.offsets[name] = self.size
        self.size = aligned(self.size - (-size // numbers.per_float))
        return Place(name, BaseWord.CONSTANTS, format=numbers)

    def table(self, numbers: Tensor) -> Place:
        """Put in a table (int32), or find an equal one that is there."""
        return self._shared(numbers.to(torch.int32))

    def shared(self, numbers: Tensor) -> Place:
        """Put in a small tensor of float32 that others may also have."""
        return self._shared(numbers.detach().to(torch.float32))

    def _shared(self, numbers: Tensor) -> Place:
        numbers = numbers.contiguous()
        key = hashlib.sha256(numbers.numpy().tobytes() + str(numbers.dtype).encode()).digest()
        if key not in self._known:
            self._known[key] = self._place(numbers.numel(), lambda: numbers).buffer
        return Place(self._known[key], BaseWord.CONSTANTS)

    def block(self) -> Tensor:
        """Compute all of them and return them as one int32 tensor, with some room behind."""
        block = empty_pages(FLOAT_BYTES * (self.size + SLACK))
        for name, (size, pack) in self._packs.items():
            packed = pack().detach().flatten()
            assert packed.dtype in (torch.float32, torch.int32, torch.float16)
            assert packed.numel() == size, name
            start = self.offsets[name] * (FLOAT_BYTES // packed.element_size())
            block.view(packed.dtype)[start : start + size] = packed
        return block
