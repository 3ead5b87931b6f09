"""Packed weights and tables, in the order in which the network reads them."""

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from onebyone.compiler.plan.buffers import CONSTANTS, Place
from onebyone.compiler.plan.memory import aligned


@dataclass(slots=True)
class Constants:
    """Collect float32 (or int32) tensors that go into one block of memory, each at a cache line."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    size: int = 0
    _known: dict[bytes, str] = field(default_factory=dict)

    def add(self, tensor: Tensor) -> Place:
        """Put in a tensor of weights and return its place."""
        assert tensor.dtype in (torch.float32, torch.int32)
        name = f"packed {len(self.tensors)}"  # no node has a name like this
        self.tensors[name] = tensor.detach().contiguous().flatten()
        self.offsets[name] = self.size
        self.size = aligned(self.size + tensor.numel())
        return Place(name, CONSTANTS)

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
            self._known[key] = self.add(numbers).buffer
        return Place(self._known[key], CONSTANTS)

    def block(self, slack: int) -> Tensor:
        """Return all of them as one int32 tensor, with some room behind."""
        block = torch.zeros(self.size + slack, dtype=torch.int32)
        for name, tensor in self.tensors.items():
            start = self.offsets[name]
            block[start : start + tensor.numel()] = tensor.view(torch.int32)
        return block
