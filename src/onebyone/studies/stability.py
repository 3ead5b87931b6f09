"""How high a learning rate a network bears at its start: a ladder of short trainings."""

import copy
import itertools
import math
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import nn
from torch.nn import functional as F

from onebyone.nn import initialize_weights
from onebyone.training.data.data import Batch, Data
from onebyone.training.optimizer import build_optimizer
from onebyone.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Learning rates, each twice the one before, and how each is tried.

    Attributes:
        recipe: The optimizer, the size of a batch, and the lowest rate.
        rungs: Number of rates.
        steps: Steps that each rate is kept for, from the same start.
        judged: The last ones of them, whose mean loss decides.
        below: What it has to be below, as a share of the loss of guessing, which is the logarithm
            of the number of classes.
    """

    recipe: Recipe
    rungs: int
    steps: int
    judged: int
    below: float = 0.9


def greatest_stable_rate(network: nn.Module, data: Data, ladder: Ladder) -> float:
    """Return the greatest rate of a ladder before the first one that a network does not bear.

    A rate is borne if something is learnt with it: the mean loss, some steps from a random start,
    is a number and clearly below that of guessing. There is no warm-up. If not even the lowest rate
    is borne, half of that is returned.

    Args:
        network: What is tried, but for its weights, which are drawn anew from torch's generator.
        data: What it learns from: the same batches at each rate.
        ladder: What is tried.

    Side effects:
        Draws from torch's generator.
    """
    start = copy.deepcopy(network)
    initialize_weights(start)
    batches = _first_batches(data, ladder)
    limit = ladder.below * math.log(len(data.classes))
    rates = [ladder.recipe.learning_rate * 2**rung for rung in range(ladder.rungs)]
    for rate in rates:
        losses = _losses(start, batches, replace(ladder.recipe, learning_rate=rate))
        if not fmean(losses[-ladder.judged :]) < limit:  # NaN is not, either
            return rate / 2
    return rates[-1]


def _first_batches(data: Data, ladder: Ladder) -> list[Batch]:
    """Return as many batches as a rate is tried with, of several epochs if one is too short."""
    size = ladder.recipe.batch_size
    epochs = (data.train.batches(size, epoch=epoch) for epoch in itertools.count())
    return list(itertools.islice(itertools.chain.from_iterable(epochs), ladder.steps))


def _losses(start: nn.Module, batches: list[Batch], recipe: Recipe) -> list[float]:
    """Return the loss of each batch, up to the first that is no number."""
    network = copy.deepcopy(start).train()
    optimizer = build_optimizer(network, recipe)
    losses: list[float] = []
    for batch in batches:
        optimizer.zero_grad()
        images = batch.images.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(network(images), batch.targets)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
        loss.backward()
        optimizer.step()
    return losses
