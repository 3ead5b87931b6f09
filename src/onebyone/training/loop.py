"""Training a network: one loop, from the first step to the last."""

import copy
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from onebyone.errors import ShapeError, TrainingError
from onebyone.models import ModelCard, Network
from onebyone.training.checkpoint import keep
from onebyone.training.curves import draw_curves
from onebyone.training.data.data import Data
from onebyone.training.engine import Engine, make_engine
from onebyone.training.evaluate import evaluate
from onebyone.training.learner import Learner
from onebyone.training.metrics import EpochRow, Journal, StepRow
from onebyone.training.recipe import Recipe
from onebyone.training.schedule import learning_rate
from onebyone.training.state import (
    STATE_FILE,
    State,
    check_same_run,
    read_state,
    write_state,
    writing,
)
from onebyone.training.stop import listening

BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
"""Names of the checkpoints in the folder of a run."""


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


def train_network(
    network: nn.Module,
    data: Data,
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    engine: Engine | None = None,
    resume: bool = False,
    save_seconds: float = 60.0,
    watch: Watch = unwatched,
) -> TrainResult:
    """Train a copy of a network, and keep what comes of it in a folder.

    Everything random depends on the seed, the epoch and the step alone, and a resume goes on from
    the last state: on one CPU process its results are the same, bit for bit, as those of a run that
    was never interrupted. An interruption costs at most the steps since the last state.

    Args:
        network: Where to start from; it is left as it is.
        data: What to learn from, and to be tested with after each epoch.
        recipe: How.
        out: Folder for the checkpoints `best.safetensors` and `last.safetensors`, the metrics and
            the state; None to write nothing.
        seed: What random numbers depend on, besides the epoch and the step.
        engine: Where to compute; by default in this process alone, in the recipe's precision.
        resume: Whether to go on with the run in `out`, if there is one.
        save_seconds: Time between two states, besides those at the epochs' ends.
        watch: Shows a person how far it has come.

    Raises:
        TrainingError: If `out` cannot be written to or holds another run, or the loss is no longer
            a number.
        ShapeError: If the network does not give a score a class, or the batch size is no multiple
            of the number of processes.
        DataError: If the data cannot be read.
    """
    engine = engine or make_engine(precision=recipe.precision)
    batch_size = _share_of_batch(recipe, engine)
    steps_per_epoch = data.train.steps(batch_size, world=engine.world)
    steps = recipe.epochs * steps_per_epoch
    with torch.random.fork_rng(enabled=True), listening() as stop:
        run = _begin(network, data, recipe, out, seed=seed, engine=engine, resume=resume)
        learner, journal = run.learner, run.journal
        first_step = run.step
        for epoch in range(run.epoch, recipe.epochs):
            learner.train()
            clock, images = time.perf_counter() - run.seconds, 0
            begun = time.perf_counter()
            batches = data.train.batches(
                batch_size,
                epoch=epoch,
                seed=seed,
                first_step=first_step,
                rank=engine.rank,
                world=engine.world,
                augment=recipe.augment,
                device=engine.device,
            )
            for step_in_epoch, batch in enumerate(batches, first_step):
                step = epoch * steps_per_epoch + step_in_epoch
                rate = learning_rate(recipe, step, steps)
                torch.manual_seed(_mixed(seed, step, engine.rank))  # what dropout draws from
                outcome = learner.learn(batch, rate=rate, step=step)
                loss, accuracy, asked = _together(engine, outcome, stop.signal, run.failure)
                if not isfinite(loss):
                    _leave(engine, _diverged(loss, epoch, step, out))
                journal.add_step(StepRow(epoch + 1, step + 1, rate, loss, accuracy))
                images += len(batch.images) * engine.world
                watch(
                    Progress(
                        step=step + 1,
                        steps=steps,
                        epoch=epoch + 1,
                        epochs=recipe.epochs,
                        loss=loss,
                        accuracy=accuracy,
                        images_per_second=images / (time.perf_counter() - begun),
                    )
                )
                if asked or time.perf_counter() - run.saved > save_seconds:
                    # After an epoch's last step, the next one is "behind the end" of this epoch.
                    run.save(epoch, step_in_epoch + 1, time.perf_counter() - clock)
                if asked:
                    engine.barrier()
                    return run.result(signal=asked)
            speed = images / max(time.perf_counter() - begun, 1e-9)
            learner.settle()
            score = evaluate(learner.network, data.test, engine, batch_size=2 * batch_size)
            if not isfinite(score.loss):
                _leave(engine, _diverged(score.loss, epoch, (epoch + 1) * steps_per_epoch - 1, out))
            taken = journal.steps[-steps_per_epoch:]
            row = EpochRow(
                epoch=epoch + 1,
                step=taken[-1].step,
                learning_rate=taken[-1].learning_rate,
                train_loss=sum(one.loss for one in taken) / len(taken),
                train_accuracy=sum(one.accuracy for one in taken) / len(taken),
                test_loss=score.loss,
                test_accuracy=score.accuracy,
                seconds=time.perf_counter() - clock,
                images_per_second=speed,
            )
            run.end_epoch(row)
            watch(
                Progress(
                    step=row.step,
                    steps=steps,
                    epoch=row.epoch,
                    epochs=recipe.epochs,
                    loss=row.train_loss,
                    accuracy=row.train_accuracy,
                    images_per_second=speed,
                    row=row,
                )
            )
            first_step = run.seconds = 0
        return run.finish()


@dataclass(slots=True, kw_only=True)
class _Run:
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
    saved: float = 0.0
    failure: TrainingError | None = None

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
                    tensors=self.learner.tensors() | _steps_as_tensor(self.journal.steps),
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
        _together(self.engine, torch.zeros(2), 0, self.failure)
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


def _begin(
    network: nn.Module,
    data: Data,
    recipe: Recipe,
    out: str | Path | None,
    *,
    seed: int,
    engine: Engine,
    resume: bool,
) -> _Run:
    """Start a run, or take up the one in its folder."""
    folder = None if out is None else Path(out)
    if folder and engine.is_first:
        _prepare_folder(folder, resume=resume)
    engine.launch()
    engine.barrier()
    torch.manual_seed(_mixed(seed, -1, 0))
    network = copy.deepcopy(network)
    card = _card_of(network, data, recipe, seed)
    if isinstance(network, Network):
        network.card = card
    _check_scores(network, data)
    about = json.loads(
        json.dumps({"model": card.model, "data": data.name, "seed": seed, "recipe": asdict(recipe)})
    )
    learner = Learner(network, recipe, engine)
    state = read_state(folder / STATE_FILE) if folder and _has_state(folder) else None
    engine.barrier()  # all have looked before the first one writes
    written = folder if engine.is_first else None
    if state is None:
        run = _Run(
            learner=learner, journal=Journal(written), engine=engine, about=about, out=written
        )
        run.save(0, 0)
        return run
    assert folder is not None
    check_same_run(state, about, folder)
    learner.restore(state.tensors)
    engine.set_scale(dict(state.scale))
    return _Run(
        learner=learner,
        journal=Journal(written, *_rows(state, data, recipe, engine)),
        engine=engine,
        about=about,
        out=written,
        epoch=state.epoch,
        step=state.step,
        seconds=state.seconds,
        saved=time.perf_counter(),
    )


def _prepare_folder(folder: Path, *, resume: bool) -> None:
    if _has_state(folder) and not resume:
        raise TrainingError(
            f"{folder} holds a run already; go on with it by --resume (resume=True), or name "
            "another folder"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        for kept in (STATE_FILE, BEST_FILE, LAST_FILE):
            for half in folder.glob(f".{kept}.*"):  # what kill -9 cut short
                half.unlink()


def _has_state(folder: Path) -> bool:
    return (folder / STATE_FILE).exists()


def _card_of(network: nn.Module, data: Data, recipe: Recipe, seed: int) -> ModelCard:
    """Return the card of what will be trained: how to feed it, and where it comes from."""
    card = getattr(network, "card", None)
    if not isinstance(card, ModelCard):
        card = ModelCard(model=type(network).__name__)
    epochs = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}"
    return replace(
        card,
        preprocess=data.preprocess,
        classes=data.classes,
        weights=f"trained on {data.name}, {epochs}, seed {seed}",
        license=None,
    )


def _check_scores(network: nn.Module, data: Data) -> None:
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        try:
            scores = network.eval()(torch.zeros(1, *data.image_shape, device=device))
        except RuntimeError as error:
            shape = " x ".join(map(str, data.image_shape))
            raise ShapeError(
                f"the network cannot see images of {shape} ({str(error).splitlines()[0]}); "
                "train another one, or on other data"
            ) from error
    if not isinstance(scores, Tensor) or scores.shape != (1, len(data.classes)):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ShapeError(
            f"a network that gives {len(data.classes)} scores for an image was wanted, one for "
            f"each class of {data.name}, and this one gives {got}"
        )


def _share_of_batch(recipe: Recipe, engine: Engine) -> int:
    if recipe.batch_size % engine.world:
        raise ShapeError(
            f"`batch_size` (={recipe.batch_size}) must be divisible by the {engine.world} processes"
        )
    return recipe.batch_size // engine.world


def _mixed(seed: int, step: int, rank: int) -> int:
    """Return a number that differs for each seed, step and process."""
    # The multipliers are large and odd, so that neighbours lie far apart (Fibonacci hashing).
    mixed = seed * 0x9E3779B97F4A7C15 + (step + 1) * 0xC2B2AE3D27D4EB4F + rank * 0x165667B19E3779F9
    return mixed % 2**63


def _together(
    engine: Engine, outcome: Tensor, signal: int, failure: TrainingError | None
) -> tuple[float, float, int]:
    """Return the processes' mean loss and accuracy, and the signal that any of them was sent.

    Raises:
        TrainingError: In the process that failed; the others end without a word.
    """
    extra = torch.tensor([float(signal), float(failure is not None)], device=engine.device)
    pulse = torch.cat([outcome.to(engine.device), extra])
    loss, accuracy, share, failed = engine.mean(pulse).tolist()
    if failed:
        _leave(engine, failure)
    if not share:
        return loss, accuracy, 0
    return loss, accuracy, signal or 15  # another process was asked: SIGTERM


def _leave(engine: Engine, error: TrainingError | None) -> NoReturn:
    """End all processes; the first one says why."""
    if engine.is_first and error:
        raise error
    raise SystemExit(0)


def _diverged(loss: float, epoch: int, step: int, out: str | Path | None) -> TrainingError:
    kept = f"; {out} keeps the states and checkpoints from before" if out else ""
    return TrainingError(
        f"the loss is {loss} at step {step + 1} (epoch {epoch + 1}){kept}: begin again with a "
        "lower learning rate (--lr), or with clipped gradients"
    )


def _steps_as_tensor(steps: list[StepRow]) -> dict[str, Tensor]:
    rows = [(row.loss, row.accuracy) for row in steps]
    return {"steps": torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)}


def _rows(
    state: State, data: Data, recipe: Recipe, engine: Engine
) -> tuple[list[EpochRow], list[StepRow]]:
    """Return the rows that a state holds; what follows from a step's number is not kept in it."""
    per_epoch = data.train.steps(_share_of_batch(recipe, engine), world=engine.world)
    steps = [
        StepRow(
            epoch=step // per_epoch + 1,
            step=step + 1,
            learning_rate=learning_rate(recipe, step, per_epoch * recipe.epochs),
            loss=loss,
            accuracy=accuracy,
        )
        for step, (loss, accuracy) in enumerate(state.tensors["steps"].tolist())
    ]
    return [EpochRow(**row) for row in state.epochs], steps
