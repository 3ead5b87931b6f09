"""How far a training has come, for the person who waits."""

import time
from dataclasses import dataclass
from typing import Protocol

from onebyone.training.metrics import EpochRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: Steps taken.
        steps: Steps in all.
        epoch: The epoch that it is in, from 1.
        epochs: Epochs in all.
        loss: Mean loss of the last step.
        accuracy: Share of correct answers in it.
        images_per_second: Images learnt from in a second, in this epoch.
        row: The epoch's results, if it has just ended.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    images_per_second: float
    row: EpochRow | None = None


class Watch(Protocol):
    """Show a person how far a training has come."""

    def __call__(self, progress: Progress) -> None:
        """Take note of a step, or of an epoch's end."""
        ...


def unwatched(progress: Progress) -> None:
    """Show nobody."""


class Clock:
    """Time one epoch.

    Args:
        before: Seconds that processes before this one have spent on it.
    """

    def __init__(self, *, before: float = 0.0) -> None:
        self._before = before
        self._begun = self._counted = time.perf_counter()
        self._images = 0

    def count(self, images: int) -> None:
        """Note that so many images have just been learnt from."""
        self._images += images
        self._counted = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time that the epoch has taken, in all processes that worked on it."""
        return self._before + time.perf_counter() - self._begun

    @property
    def images_per_second(self) -> float:
        """Images that were learnt from in a second, up to the last one; 0 before any."""
        return self._images / max(self._counted - self._begun, 1e-9)
