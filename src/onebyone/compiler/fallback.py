"""Operators without native code, which PyTorch runs: what they are called, and who is told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from onebyone.errors import CompileError, warn_user
from onebyone.graph import Opaque

MOST_NAMES = 6
"""How many names stand in one line; more are counted."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """An operator that PyTorch runs: its name, and the module that calls it."""

    operator: str
    path: str

    @classmethod
    def of(cls, node: Opaque) -> Self:
        """Return how a node is called."""
        return cls(str(node.target), node.path)

    def __str__(self) -> str:
        """Show as `aten.cumsum.default in layer1.pool`."""
        return f"{self.operator} in {self.path}" if self.path else self.operator


def describe_fallbacks(fallbacks: Sequence[Fallback]) -> str:
    """Say in one line what runs in PyTorch: how many operators, and which, the most frequent first.

    Example:
        >>> describe_fallbacks([Fallback("aten.cumsum.default", "a")] * 3)
        '3 operators have no native code and run in PyTorch: aten.cumsum.default (3)'
    """
    counts = Counter(fallback.operator for fallback in fallbacks)
    names = [f"{name} ({count})" if count > 1 else name for name, count in counts.most_common()]
    count = len(fallbacks)
    have = "operator has" if count == 1 else "operators have"
    run = "runs" if count == 1 else "run"
    return f"{count} {have} no native code and {run} in PyTorch: {_listed(names)}"


def warn_of_fallbacks(fallbacks: Sequence[Fallback]) -> None:
    """Warn, where the user called us, of operators that run in PyTorch, if there are any."""
    if fallbacks:
        warn_user(f"{describe_fallbacks(fallbacks)}; `.fallbacks` has their modules")


def refuse_fallbacks(fallbacks: Sequence[Fallback]) -> None:
    """Check that there are no operators without native code.

    Raises:
        CompileError: If there are; names them and their modules.
    """
    if fallbacks:
        names = list(dict.fromkeys(map(str, fallbacks)))
        raise CompileError(f"`strict` is on, and there is no native code for {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    left = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {left} more" if left > 0 else "")
