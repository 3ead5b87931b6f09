"""Training a network: one loop, from the first step to the last."""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import torch
from torch import nn

from onebyone.errors import TrainingError
from onebyone.training.agree import agree, leave
from onebyone.training.begin import begin_run
from onebyone.training.data.data import Data
from onebyone.training.engine import Engine, make_engine
from onebyone.training.evaluate import evaluate
from onebyone.training.metrics import EpochRow
from onebyone.training.plan import Plan, plan_training, seed_of
from onebyone.training.progress import Clock, Progress, Watch, unwatched
from onebyone.training.recipe import Recipe
from onebyone.training.run import Run, TrainResult
from onebyone.training.stop import Stop, listening


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
    plan = plan_training(data, recipe, seed, engine)
    with torch.random.fork_rng(enabled=True), listening() as stop:
        run = begin_run(network, plan, out, engine=engine, resume=resume, save_seconds=save_seconds)
        for epoch in range(run.epoch, recipe.epochs):
            clock = Clock(before=run.seconds)
            if signal := _learn(run, plan, epoch, clock, stop, watch):
                engine.barrier()
                return run.result(signal=signal)
            _measure(run, plan, epoch, clock, watch)
            run.step, run.seconds = 0, 0.0
        return run.finish()


def _learn(run: Run, plan: Plan, epoch: int, clock: Clock, stop: Stop, watch: Watch) -> int:
    """Take the steps of an epoch that are left; return the signal that cut it short, else 0."""
    engine = run.engine
    run.learner.train()
    for step_in_epoch, batch in enumerate(plan.batches(epoch, run.step, engine), run.step):
        step = epoch * plan.steps_per_epoch + step_in_epoch
        torch.manual_seed(seed_of(plan.seed, step, engine.rank))  # what dropout draws from
        outcome = run.learner.learn(batch, rate=plan.rate(step), step=step)
        loss, accuracy, asked = agree(engine, outcome, stop.signal, run.failure)
        if not isfinite(loss):
            leave(engine, _diverged(loss, plan, step, run.out))
        run.journal.add_step(plan.row(step, loss, accuracy))
        clock.count(len(batch.images) * engine.world)
        watch(_progress(plan, step, loss, accuracy, clock))
        if asked or run.is_due:
            # Behind an epoch's last step, the next one is behind the end of this epoch.
            run.save(epoch, step_in_epoch + 1, clock.seconds)
        if asked:
            return asked
    return 0


def _measure(run: Run, plan: Plan, epoch: int, clock: Clock, watch: Watch) -> None:
    """Measure what an epoch came to, note it, and keep the network."""
    run.learner.settle()
    score = evaluate(
        run.learner.network, plan.data.test, run.engine, batch_size=2 * plan.batch_size
    )
    taken = run.journal.steps[-plan.steps_per_epoch :]
    last = taken[-1]
    if not isfinite(score.loss):
        leave(run.engine, _diverged(score.loss, plan, last.step - 1, run.out))
    row = EpochRow(
        epoch=epoch + 1,
        step=last.step,
        learning_rate=last.learning_rate,
        train_loss=sum(one.loss for one in taken) / len(taken),
        train_accuracy=sum(one.accuracy for one in taken) / len(taken),
        test_loss=score.loss,
        test_accuracy=score.accuracy,
        seconds=clock.seconds,
        images_per_second=clock.images_per_second,
    )
    run.end_epoch(row)
    reached = _progress(plan, last.step - 1, row.train_loss, row.train_accuracy, clock)
    watch(replace(reached, row=row))


def _progress(plan: Plan, step: int, loss: float, accuracy: float, clock: Clock) -> Progress:
    return Progress(
        step=step + 1,
        steps=plan.steps,
        epoch=plan.epoch_of(step) + 1,
        epochs=plan.recipe.epochs,
        loss=loss,
        accuracy=accuracy,
        images_per_second=clock.images_per_second,
    )


def _diverged(loss: float, plan: Plan, step: int, out: Path | None) -> TrainingError:
    kept = f"; {out} keeps the states and checkpoints from before" if out else ""
    return TrainingError(
        f"the loss is {loss} at step {step + 1} (epoch {plan.epoch_of(step) + 1}){kept}: begin "
        "again with a lower learning rate (--lr), or with clipped gradients"
    )
