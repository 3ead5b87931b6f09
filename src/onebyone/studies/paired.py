"""Means over seeds, differences seed by seed, and how sure one may be of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

CONFIDENCE = 0.95
"""Share of intervals like ours that hold the true mean, if seeds' results are normally spread."""

CLAIMED_ERRORS = 2.0
"""Standard errors that a difference must have, at least, for anything to be said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: The mean.
        error: Its standard error.
        low: Where its 95 % interval begins, by Student's t.
        high: Where it ends.
        count: Number of seeds.
    """

    mean: float
    error: float
    low: float
    high: float
    count: int

    @property
    def is_claimed(self) -> bool:
        """Whether it is two standard errors or more from nothing at all."""
        return self.mean != 0 and abs(self.mean) >= CLAIMED_ERRORS * self.error

    @property
    def is_certain(self) -> bool:
        """Whether its 95 % interval leaves out nothing at all, which takes more of few seeds."""
        return not self.low <= 0 <= self.high


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of some seeds' values, two of them or more.

    Example:
        >>> found = estimate([1.0, 2.0, 3.0])
        >>> found.mean, round(found.error, 3), round(found.low, 2)
        (2.0, 0.577, -0.48)
    """
    from scipy.special import stdtrit

    count = len(values)
    mean, error = fmean(values), stdev(values) / sqrt(count)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    return Estimate(mean=mean, error=error, low=mean - half, high=mean + half, count=count)


def exactly(value: float) -> Estimate:
    """Return a number that was counted, or measured once for all seeds, as an estimate of itself.

    Example:
        >>> exactly(3.0).high
        3.0
    """
    return Estimate(mean=value, error=0.0, low=value, high=value, count=1)


def difference(this: Sequence[float], that: Sequence[float]) -> Estimate:
    """Return the mean of this minus that, seed by seed: what both have of a seed cancels out.

    Example:
        >>> difference([0.93, 0.91], [0.92, 0.9]).is_claimed
        True
    """
    return estimate([one - other for one, other in zip(this, that, strict=True)])
