"""The steps that a training will take, known before the first one."""

from collections.abc import Iterator
from dataclasses import dataclass

from onebyone.errors import ShapeError
from onebyone.training.data.data import Batch, Data
from onebyone.training.engine import Engine
from onebyone.training.metrics import StepRow
from onebyone.training.recipe import Recipe
from onebyone.training.schedule import learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one process will do in each step.

    Attributes:
        data: What to learn from.
        recipe: How.
        seed: What random numbers depend on, besides the epoch and the step.
        batch_size: Images in a step of this process.
        steps_per_epoch: Steps in an epoch.
    """

    data: Data
    recipe: Recipe
    seed: int
    batch_size: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.recipe.epochs * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """Return the epoch that a step belongs to; both from 0."""
        return step // self.steps_per_epoch

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        return learning_rate(self.recipe, step, self.steps)

    def row(self, step: int, loss: float, accuracy: float) -> StepRow:
        """Return what is noted of a step, from 0, which came to this."""
        return StepRow(self.epoch_of(step) + 1, step + 1, self.rate(step), loss, accuracy)

    def batches(self, epoch: int, first_step: int, engine: Engine) -> Iterator[Batch]:
        """Give this process's batches of an epoch, from one of its steps on."""
        return self.data.train.batches(
            self.batch_size,
            epoch=epoch,
            seed=self.seed,
            first_step=first_step,
            rank=engine.rank,
            world=engine.world,
            augment=self.recipe.augment,
            device=engine.device,
        )


def plan_training(data: Data, recipe: Recipe, seed: int, engine: Engine) -> Plan:
    """Return the plan of a training.

    Raises:
        ShapeError: If the recipe's batches cannot be divided by the processes.
    """
    if recipe.batch_size % engine.world:
        raise ShapeError(
            f"`batch_size` (={recipe.batch_size}) must be divisible by the {engine.world} processes"
        )
    batch_size = recipe.batch_size // engine.world
    return Plan(
        data=data,
        recipe=recipe,
        seed=seed,
        batch_size=batch_size,
        steps_per_epoch=data.train.steps(batch_size, world=engine.world),
    )


def seed_of(seed: int, step: int, rank: int = 0) -> int:
    """Return a number that differs for each seed, step and process; step -1 is before the first."""
    # The multipliers are large and odd, so that neighbours lie far apart (Fibonacci hashing).
    mixed = seed * 0x9E3779B97F4A7C15 + (step + 1) * 0xC2B2AE3D27D4EB4F + rank * 0x165667B19E3779F9
    return mixed % 2**63
