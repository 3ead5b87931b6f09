"""What a network may cost, as a share of what it costs now."""

from dataclasses import dataclass
from math import isfinite

from onebyone.errors import ShrinkError


@dataclass(frozen=True, slots=True)
class LatencyBudget:
    """A share of the time that the network takes now, measured on this machine.

    Attributes:
        share: Above 0 and below 1.

    Raises:
        ShrinkError: If it is not.
    """

    share: float

    def __post_init__(self) -> None:
        _check(self.share, "latency")

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"latency={self.share:g}"


@dataclass(frozen=True, slots=True)
class MacsBudget:
    """A share of the multiply-adds that the network takes now.

    Attributes:
        share: Above 0 and below 1.

    Raises:
        ShrinkError: If it is not.
    """

    share: float

    def __post_init__(self) -> None:
        _check(self.share, "macs")

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"macs={self.share:g}"


Budget = LatencyBudget | MacsBudget

KINDS = {"latency": LatencyBudget, "macs": MacsBudget}
"""Budgets by what they are called on the command line."""


def parse_budget(text: str) -> Budget:
    """Return the budget that a text such as "latency=0.5" stands for.

    Raises:
        ShrinkError: If it stands for none.

    Example:
        >>> parse_budget("latency=0.5")
        LatencyBudget(share=0.5)
    """
    kind, equals, share = text.partition("=")
    if kind not in KINDS or not equals:
        raise ShrinkError(f"a budget such as latency=0.5 or macs=0.5 was wanted, and {text!r} came")
    try:
        number = float(share)
    except ValueError:
        raise ShrinkError(
            f"the budget's share was to be a number, such as {kind}=0.5, and {share!r} came"
        ) from None
    return KINDS[kind](number)


def _check(share: float, kind: str) -> None:
    is_number = type(share) in (int, float)
    if not (is_number and isfinite(share) and 0 < share < 1):
        raise ShrinkError(
            f"a budget is a share of what the network costs now, above 0 and below 1, such as "
            f"{kind}=0.5; {share!r} came"
        )
