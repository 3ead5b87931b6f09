"""Which tensors share numbers: where they lie in a storage, and what each stands for now."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from onebyone.graph.calls import Value

Known = Value | Tensor
"""What a tensor stands for: a value that depends on the inputs, or numbers that don't."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Say where the numbers of a tensor lie.

    Args:
        shape: Of the tensor.
        strides: From one index to the next, in numbers.
        offset: Of its first number.
        dtype: Type of the numbers.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    @staticmethod
    def of(tensor: Tensor) -> "Geometry":
        """Return where a tensor lies in its storage."""
        return Geometry(
            tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype
        )

    @staticmethod
    def in_memory(tensor: Tensor) -> "Geometry":
        """Return where a tensor lies in the memory of the process."""
        first = tensor.data_ptr() // tensor.element_size()
        return Geometry(tuple(tensor.shape), tensor.stride(), first, tensor.dtype)

    @property
    def numel(self) -> int:
        """How many numbers the tensor shows."""
        return prod(self.shape)

    @property
    def span(self) -> range:
        """The places from its first number to its last."""
        if not self.numel:
            return range(0)
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * stride for size, stride in steps)
        return range(self.offset, last + 1)

    @property
    def bytes(self) -> range:
        """The bytes from its first number to its last."""
        size = self.dtype.itemsize
        return range(self.span.start * size, self.span.stop * size)

    @property
    def order(self) -> tuple[int, ...]:
        """The dimensions, slowest in memory first."""
        dims = range(len(self.shape))
        return tuple(sorted(dims, key=lambda dim: (-self.strides[dim], dim)))

    @property
    def is_dense(self) -> bool:
        """Whether it shows each number of its span once."""
        step = 1
        for dim in reversed(self.order):
            if self.shape[dim] != 1 and self.strides[dim] != step:
                return False
            step *= self.shape[dim]
        return True

    @property
    def is_contiguous(self) -> bool:
        """Whether its numbers lie in the order of its indices, without gaps."""
        sizes = [dim for dim, size in enumerate(self.shape) if size != 1]
        return self.is_dense and [dim for dim in self.order if self.shape[dim] != 1] == sizes

    def has_elements_of(self, other: "Geometry") -> bool:
        """Whether two tensors are the same numbers in the same order, perhaps in another shape."""
        here, there = (
            (self.numel, self.offset, self.dtype),
            (other.numel, other.offset, other.dtype),
        )
        return here == there and self.is_contiguous and other.is_contiguous

    def shown_by(self, flat: Tensor) -> Tensor:
        """Return the tensor of this geometry in a memory whose numbers are `flat`."""
        return flat.as_strided(self.shape, self.strides, self.offset)


def share_numbers(one: Geometry, other: Geometry) -> bool:
    """Whether two tensors in one memory have a number in common.

    Those of different types are taken to, wherever their bytes mix.
    """
    if one == other:
        return one.numel > 0
    if max(one.bytes.start, other.bytes.start) >= min(one.bytes.stop, other.bytes.stop):
        return False
    if one.dtype != other.dtype:
        return True
    first = min(one.span.start, other.span.start)
    stop = max(one.span.stop, other.span.stop)
    touched = torch.zeros(stop - first, dtype=torch.bool, device="cpu")
    touched.as_strided(one.shape, one.strides, one.offset - first).fill_(True)
    return bool(touched.as_strided(other.shape, other.strides, other.offset - first).any())


class Memory:
    """Know what each tensor on one storage stands for; a write makes it forget what is no more.

    Args:
        base: A tensor on the storage; it is kept, so that no other storage gets the same address.
    """

    def __init__(self, base: Tensor) -> None:
        self._base = base
        count = base.untyped_storage().nbytes() // base.element_size()
        self.flat = Geometry((count,), (1,), 0, base.dtype)
        """All numbers of the storage, in the order of their places."""
        self._known: list[tuple[Geometry, Known]] = []

    def __iter__(self) -> Iterator[tuple[Geometry, Known]]:
        """Go through what is known, latest first."""
        return reversed(self._known)

    def note(self, geometry: Geometry, known: Known) -> None:
        """Keep what a tensor stands for."""
        self._known.append((geometry, known))

    def find(self, geometry: Geometry) -> Known | None:
        """Return what a tensor stands for, if that is known."""
        for one, known in reversed(self._known):
            if one == geometry:
                return known
        return None

    def holds(self, known: Known) -> bool:
        """Whether a tensor still stands for that."""
        return any(one is known for _, one in self._known)

    def find_whole(self) -> tuple[Geometry, Known] | None:
        """Return a tensor that shows every number of the storage, if one is known."""
        wholes = ((one, known) for one, known in self if self.is_whole(one))
        return next(wholes, None)

    def is_whole(self, geometry: Geometry) -> bool:
        """Whether a tensor shows every number of the storage."""
        same = (geometry.numel, geometry.offset, geometry.dtype)
        return same == (self.flat.numel, 0, self.flat.dtype) and geometry.is_dense

    def forget(self, written: Geometry) -> None:
        """Forget all tensors that show a number of one that is written into."""
        self._known = [pair for pair in self._known if not share_numbers(pair[0], written)]
