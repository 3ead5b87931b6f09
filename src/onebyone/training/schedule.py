"""The learning rate as a function of the step, and of nothing else: so nothing has to be kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi

from onebyone.training.recipe import Recipe, ScheduleName


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a schedule begins and ends, as shares of its greatest rate, and how it rises.

    Attributes:
        first: Share at the first step, if there are steps in which the rate rises.
        last: Share at the last step.
        is_straight: Whether the rate rises in a straight line, or in half a wave.
    """

    first: float
    last: float
    is_straight: bool


SHAPES: Mapping[ScheduleName, Shape] = {
    "cosine": Shape(first=0.01, last=0.0, is_straight=True),
    # PyTorch's OneCycleLR: from 1/25 up, and down to 1/10,000 of that.
    "one-cycle": Shape(first=1 / 25, last=1 / 25e4, is_straight=False),
}


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of step `step`, 0 to `steps - 1`, of a whole training.

    It rises to `recipe.peak_rate` over the first `recipe.warmup * steps` steps, and falls in half
    a wave until the last.

    Example:
        >>> recipe = Recipe(epochs=1, learning_rate=0.4, warmup=0.0)
        >>> learning_rate(recipe, 0, 101), round(learning_rate(recipe, 50, 101), 6)
        (0.4, 0.2)
    """
    shape = SHAPES[recipe.schedule]
    top = int(recipe.warmup * steps)
    if step < top:
        share = step / top
        risen = share if shape.is_straight else (1 - cos(pi * share)) / 2
        return recipe.peak_rate * (shape.first + (1 - shape.first) * risen)
    share = (step - top) / max(steps - 1 - top, 1)
    return recipe.peak_rate * (shape.last + (1 - shape.last) * (1 + cos(pi * share)) / 2)
