"""What is noted while a network learns: a row a step and a row an epoch, in files and in memory."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onebyone.files import replacing
from onebyone.packages import is_installed
from onebyone.training.state import writing


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step.

    Attributes:
        epoch: Its epoch, from 1.
        step: Its number in the whole training, from 1.
        learning_rate: The rate that it was taken with.
        loss: Mean loss over its images, before it.
        accuracy: Share of its images whose class was named first, before it.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One epoch.

    Attributes:
        epoch: Its number, from 1.
        step: Steps taken by its end.
        learning_rate: The rate of its last step.
        train_loss: Mean loss over its steps, each before it was taken.
        train_accuracy: Share of correct answers over its steps, likewise.
        test_loss: Mean loss over the test images, at its end.
        test_accuracy: Share of the test images whose class is named first, at its end.
        seconds: Time that it took, with its evaluation, in the processes that finished it.
        images_per_second: Images that were learnt from in a second, without evaluation.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    images_per_second: float


Row = StepRow | EpochRow


class Journal:
    """Keep the rows of a run, and write them to `metrics.csv` and `steps.csv`.

    TensorBoard's files are written too, to `tensorboard/`, if it is installed.

    Args:
        folder: Where to write; None to keep the rows in memory only.
        epochs: Rows of a run that goes on.
        steps: Likewise.

    Side effects:
        Writes both files anew: what an interrupted run wrote behind its last state is taken out.

    Raises:
        TrainingError: If a file cannot be written, also in the methods.
    """

    def __init__(
        self, folder: Path | None, epochs: Iterable[EpochRow] = (), steps: Iterable[StepRow] = ()
    ) -> None:
        self.epochs = list(epochs)
        self.steps = list(steps)
        self._folder = folder
        self._unwritten: list[StepRow] = []
        if folder:
            _write(folder / "metrics.csv", EpochRow, self.epochs)
            _write(folder / "steps.csv", StepRow, self.steps)
        self._board = _open_board(folder, len(self.steps)) if folder else None

    def add_step(self, row: StepRow) -> None:
        """Note a step; it is written at the next `flush`."""
        self.steps.append(row)
        self._unwritten.append(row)

    def add_epoch(self, row: EpochRow) -> None:
        """Note an epoch, and write it."""
        self.epochs.append(row)
        self.flush()
        if self._folder:
            _append(self._folder / "metrics.csv", [row])
        if self._board:
            for name, value in asdict(row).items():
                if name not in ("epoch", "step"):
                    self._board.add_scalar(name.replace("_", "/", 1), value, row.step)
            self._board.flush()

    def flush(self) -> None:
        """Write the steps that are not written yet."""
        if self._folder:
            _append(self._folder / "steps.csv", self._unwritten)
        if self._board:
            for row in self._unwritten:
                self._board.add_scalar("step/loss", row.loss, row.step)
                self._board.add_scalar("step/learning_rate", row.learning_rate, row.step)
        self._unwritten = []

    def tensors(self) -> dict[str, Tensor]:
        """Return of each step what does not follow from its number, for a state."""
        rows = [(row.loss, row.accuracy) for row in self.steps]
        return {"steps": torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)}

    def close(self) -> None:
        """Write all, and close what is open."""
        self.flush()
        if self._board:
            self._board.close()


def _write(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    with writing(path), replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(field.name for field in fields(kind))
        table.writerows(astuple(row) for row in rows)


def _append(path: Path, rows: Sequence[Row]) -> None:
    if rows:
        with writing(path), path.open("a", newline="") as file:
            csv.writer(file).writerows(astuple(row) for row in rows)


def _open_board(folder: Path, step: int) -> Any:
    if not is_installed("tensorboard"):
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
