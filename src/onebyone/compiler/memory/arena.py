"""Which buffers share memory: those that are never needed at the same time."""

from collections.abc import Iterable
from dataclasses import dataclass

LINE_FLOATS = 16
"""Buffers start at cache lines of 64 bytes."""

SLACK = 64
"""Floats behind the arena and the constants, for vectors that are loaded past the last channel."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer of `size` floats, needed from step `first` through step `last`."""

    name: str
    first: int
    last: int
    size: int

    def overlaps(self, other: "Lifetime") -> bool:
        """Whether there is a step at which both are needed."""
        return self.first <= other.last and other.first <= self.last


def place_buffers(lifetimes: Iterable[Lifetime]) -> dict[str, int]:
    """Give each buffer an offset in one arena, largest first, lowest gap that fits.

    Buffers live at the same step never share a float. Not optimal: the exact problem is NP-hard.
    """
    placed: list[tuple[Lifetime, int]] = []
    for life in sorted(lifetimes, key=lambda life: (-life.size, life.first, life.name)):
        offset = 0
        for other, start in sorted(placed, key=lambda pair: pair[1]):
            if life.overlaps(other) and start < offset + life.size:
                offset = max(offset, aligned(start + other.size))
        placed.append((life, offset))
    return {life.name: offset for life, offset in placed}


def aligned(size: int) -> int:
    """Round a number of floats up to whole cache lines."""
    return -(-size // LINE_FLOATS) * LINE_FLOATS
