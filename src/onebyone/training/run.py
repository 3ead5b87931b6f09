"""A training under way: what learns, what is noted, and where both are kept."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onebyone.errors import TrainingError
from onebyone.training.agree import agree
from onebyone.training.checkpoint import keep
from onebyone.training.curves import draw_curves
from onebyone.training.engine import Engine
from onebyone.training.learner import Learner
from onebyone.training.metrics import EpochRow, Journal, StepRow
from onebyone.training.state import STATE_FILE, State, write_state

BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
"""Names of the checkpoints in the folder of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What came of a training.

    Attributes:
        network: The trained network, in evaluation mode: the average, if the recipe has one.
        epochs: A row an epoch.
        steps: A row a step.
        signal: The signal that ended it early; 0 if it ran to its end.
        out: Folder of the run; None if nothing was written.
        is_first: Whether this is the process that writes and speaks.
    """

    network: nn.Module
    epochs: tuple[EpochRow, ...]
    steps: tuple[StepRow, ...]
    signal: int
    out: Path | None
    is_first: bool = True

    @property
    def best(self) -> EpochRow | None:
        """The first epoch of the greatest test accuracy; None before the end of any."""
        return max(self.epochs, key=lambda row: row.test_accuracy, default=None)


@dataclass(slots=True, kw_only=True)
class Run:
    """A training under way: what learns, what was noted, and where both are kept.

    Attributes:
        learner: What learns.
        journal: What was noted.
        engine: Where.
        about: What it is a run of, as JSON.
        out: Its folder, in the process that writes.
        epoch: The epoch to go on with.
        step: The step in it to go on with.
        seconds: What the epoch took before.
        save_seconds: Time between two states, besides those at the epochs' ends.
        saved: When a state was last written.
        failure: What went wrong in the process that writes, until all know of it.
    """

    learner: Learner
    journal: Journal
    engine: Engine
    about: Mapping[str, Any]
    out: Path | None
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    save_seconds: float = 60.0
    saved: float = 0.0
    failure: TrainingError | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is time for another state."""
        return time.perf_counter() - self.saved > self.save_seconds

    def save(self, epoch: int, step: int, seconds: float = 0.0) -> None:
        """Write the state from which epoch `epoch` goes on with step `step`."""
        self.saved = time.perf_counter()
        if self.out is None:
            return
        try:
            self.journal.flush()
            write_state(
                self.out / STATE_FILE,
                State(
                    run=self.about,
                    epoch=epoch,
                    step=step,
                    seconds=seconds,
                    scale=self.engine.scale(),
                    epochs=tuple(asdict(row) for row in self.journal.epochs),
                    tensors=self.learner.tensors() | self.journal.tensors(),
                ),
            )
        except TrainingError as error:
            self._fail(error)

    def end_epoch(self, row: EpochRow) -> None:
        """Note an epoch, and keep the network that it gave."""
        try:
            self.journal.add_epoch(row)
            if self.out:
                keep(self.learner.network, self.out / LAST_FILE)
                if all(row.test_accuracy > one.test_accuracy for one in self.journal.epochs[:-1]):
                    keep(self.learner.network, self.out / BEST_FILE)
        except TrainingError as error:
            self._fail(error)
        else:
            self.save(row.epoch, 0)

    def finish(self) -> TrainResult:
        """Draw the curves, and let nobody go before all is written."""
        agree(self.engine, torch.zeros(2), 0, self.failure)
        self.journal.close()
        if self.out:
            draw_curves(self.journal.epochs, self.out)
        self.engine.barrier()
        return self.result(signal=0)

    def result(self, *, signal: int) -> TrainResult:
        """Return what has come of it so far."""
        self.journal.close()
        return TrainResult(
            network=self.learner.network.eval(),
            epochs=tuple(self.journal.epochs),
            steps=tuple(self.journal.steps),
            signal=signal,
            out=self.out,
            is_first=self.engine.is_first,
        )

    def _fail(self, error: TrainingError) -> None:
        """Raise an error; among several processes, only when all are there to end."""
        if self.engine.world == 1:
            raise error
        self.failure = error
