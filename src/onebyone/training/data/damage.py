"""Photos that cannot be read: named, counted and left out, as long as they are few."""

import logging
from collections.abc import Mapping

from onebyone.errors import DataError

_LOG = logging.getLogger(__name__)

ALLOWED_ONE_IN = 100
"""One photo in so many may be left out,"""

ALLOWED_LEAST = 10
"""or this number, whichever is more."""

NAMED = 5
"""How many are named when they are found; the others are counted."""


def allowed_of(count: int) -> int:
    """Return how many of `count` photos may be left out."""
    return max(ALLOWED_LEAST, count // ALLOWED_ONE_IN)


class Damage:
    """What could not be read so far.

    Args:
        called: What people call the photos as a whole.
        count: Their number.

    Attributes:
        reasons: The reason by the photo's name.
    """

    def __init__(self, called: str, count: int) -> None:
        self.reasons: dict[str, str] = {}
        self._called, self._count = called, count
        self._told = 0

    def note(self, reasons: Mapping[str, str]) -> None:
        """Take note of photos that could not be read, each of them once.

        Raises:
            DataError: If there are too many.
        """
        for name, reason in reasons.items():
            if name not in self.reasons:
                self.reasons[name] = reason
                if len(self.reasons) <= NAMED:
                    _LOG.warning("left out: %s", reason)
                    self._told = len(self.reasons)
        found = len(self.reasons)
        if found > (allowed := allowed_of(self._count)) or found == self._count:
            first = next(iter(self.reasons.values()))
            raise DataError(
                f"{self._called}: {found} of {self._count} photos cannot be read, and at most "
                f"{min(allowed, self._count - 1)} may be left out; get them again, or remove them; "
                f"the first: {first}"
            )

    def sum_up(self) -> None:
        """Tell how many there are by now, if more than those that were named."""
        if len(self.reasons) > self._told:
            self._told = len(self.reasons)
            _LOG.warning(
                "%s: %d of %d photos cannot be read and are left out",
                self._called,
                self._told,
                self._count,
            )
