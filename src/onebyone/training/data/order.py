"""Which examples a process sees in which step: a function of the seed and the epoch alone."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from onebyone.errors import DataError, ShapeError


def generator_of(*numbers: int) -> torch.Generator:
    """Return a source of random numbers that depends on these numbers, and on nothing else.

    Raises:
        ShapeError: If one is negative: the first is a seed, and that is the user's.
    """
    if (least := min(numbers)) < 0:
        raise ShapeError(f"`seed` (={least}) must be 0 or more")
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def count_steps(count: int, batch_size: int, *, world: int = 1) -> int:
    """Return the steps in an epoch of `count` examples."""
    return -(-count // (batch_size * world))


def training_steps(
    count: int, batch_size: int, *, epoch: int, seed: int, world: int = 1
) -> list[Tensor]:
    """Return the examples' numbers of each step of an epoch, over all processes.

    They come in random order, each once, and the steps' sizes differ by one at most.

    Raises:
        DataError: If there are fewer examples than processes to share a step.
    """
    steps = count_steps(count, batch_size, world=world)
    order = torch.randperm(count, generator=generator_of(seed, epoch))
    if count < steps * world:
        raise DataError(
            f"{count} examples cannot be shared by {world} processes in {steps} steps; train with "
            "fewer processes or larger batches"
        )
    return list(order.tensor_split(steps)) if steps else []


def share(numbers: int, rank: int, world: int) -> slice:
    """Return one process's part of a step of `numbers` examples; parts differ by one at most."""
    return slice(numbers * rank // world, numbers * (rank + 1) // world)


def evaluation_steps(count: int, batch_size: int, *, rank: int, world: int) -> Iterator[Tensor]:
    """Give the examples' numbers of one process's batches, in order, without empty ones."""
    for start in range(rank * batch_size, count, world * batch_size):
        yield torch.arange(start, min(start + batch_size, count))
