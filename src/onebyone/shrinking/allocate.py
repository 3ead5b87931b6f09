"""The best choice for each layer under one budget: a multiple-choice knapsack, solved exactly.

Costs are counted in steps of a grid that depends on the options alone, and rounded up; so a choice
is never over its budget, and whatever fits a budget fits every larger one: more money never buys a
worse network, which the usual Lagrangian search with a greedy fill cannot promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onebyone.errors import InfeasibleBudget

STEPS = 4096
"""Steps of the grid, from nothing to the dearest choice of all layers: a 40th of a percent each."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to do something.

    Attributes:
        cost: In the unit of the budget, 0 or more.
        loss: What is to be as small as can be.
    """

    cost: float
    loss: float


def pareto(options: Sequence[Option]) -> list[int]:
    """Return the indexes of the options that no other one beats, the cheapest first.

    Of options that are alike, the first stays.

    Example:
        >>> pareto([Option(3, 1), Option(1, 2), Option(2, 5), Option(3, 0)])
        [1, 3]
    """
    order = sorted(range(len(options)), key=lambda i: (options[i].cost, options[i].loss, i))
    kept: list[int] = []
    for index in order:
        if not kept or options[index].loss < options[kept[-1]].loss:
            kept.append(index)
    return kept


def allocate(options: Sequence[Sequence[Option]], budget: float) -> tuple[int, ...]:
    """Choose one option of each list so that the losses add up to the least within a budget.

    Args:
        options: One list for each decision; none is empty.
        budget: What the choices may cost together.

    Returns:
        For each list, the index of the option chosen.

    Raises:
        InfeasibleBudget: If even the cheapest choices cost more.
    """
    step = sum(max(one.cost for one in some) for some in options) / STEPS or 1.0
    counts = [[_steps(one.cost, step) for one in some] for some in options]
    cheapest = [min(range(len(some)), key=lambda i, some=some: some[i].cost) for some in options]
    least = sum(some[index].cost for some, index in zip(options, cheapest, strict=True))
    if budget < least * (1 - 1e-9):  # less is rounding
        raise InfeasibleBudget(
            f"a cost of {budget:g} was to be met, and the cheapest choices cost {least:g}"
        )
    room = min(int(budget / step), sum(map(max, counts)))
    if room < sum(map(min, counts)):
        return tuple(cheapest)  # which fit by less than a step of each
    best, picks = _fill(options, counts, room)
    left = int(np.argmin(best))
    chosen: list[int] = []
    for pick, count in zip(reversed(picks), reversed(counts), strict=True):
        index = int(pick[left])
        chosen.append(index)
        left -= count[index]
    return tuple(reversed(chosen))


def _steps(cost: float, step: float) -> int:
    """Return how many steps a cost takes; rounding of the division counts for nothing."""
    return int(np.ceil(cost / step * (1 - 1e-12)))


def _fill(
    options: Sequence[Sequence[Option]], counts: Sequence[Sequence[int]], room: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the least loss by steps spent in all, and which option of each list brings it."""
    best = np.full(room + 1, np.inf)
    best[0] = 0.0
    picks: list[np.ndarray] = []
    for some, count in zip(options, counts, strict=True):
        reached = np.full(room + 1, np.inf)
        pick = np.zeros(room + 1, dtype=np.int32)
        for index, (one, cost) in enumerate(zip(some, count, strict=True)):
            if cost > room:
                continue
            loss = best[: room + 1 - cost] + one.loss
            is_better = loss < reached[cost:]
            reached[cost:][is_better] = loss[is_better]
            pick[cost:][is_better] = index
        best = reached
        picks.append(pick)
    return best, picks
