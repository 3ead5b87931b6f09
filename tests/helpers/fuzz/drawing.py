"""A network that is drawn line by line, as Python text, and runs as it is drawn.

What PyTorch makes of each line gives the shape of its value. A line that PyTorch refuses, or whose
numbers grow or vanish, takes its whole block with it.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_NUMBERS = 400_000
"""Of one value, so that a network takes milliseconds."""

MOST_WORK = 60_000_000
"""Multiply-adds of one layer, about."""

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 40, 48, 63, 64, 65, 96, 100)
"""Channels: around the lanes of all vectors, and primes."""

SCOPE = {"torch": torch, "nn": nn, "F": F, "math": math}


class Unfit(Exception):  # noqa: N818  # nothing is wrong: another block is drawn
    """A block does not fit the value that it was to read."""


class Drawing:
    """The text of a network so far, and the values that its lines gave.

    Args:
        seed: Of every choice.

    Attributes:
        values: What each name in the text stands for, inputs among them.
        layers: Lines of `__init__`.
        lines: Lines of `forward`.
        arguments: Expressions of the inputs, by name.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.module = nn.Module()
        self.values: dict[str, Tensor] = {}
        self.layers: list[str] = []
        self.lines: list[str] = []
        self.arguments: dict[str, str] = {}
        self._names = 0

    # Choices.

    def among(self, *options: Any) -> Any:
        return self.random.choice(options)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, low: int, high: int) -> int:
        return self.random.randint(low, max(low, high))

    def width(self) -> int:
        return self.among(*WIDTHS)

    # Values.

    def shape(self, x: str) -> tuple[int, ...]:
        return tuple(self.values[x].shape)

    def channels(self, x: str) -> int:
        return self.values[x].shape[1]

    def size(self, x: str) -> tuple[int, int]:
        _, _, height, width = self.shape(x)
        return height, width

    def images(self, fits: Callable[[tuple[int, ...]], bool] = lambda _: True) -> list[str]:
        """Names of the values `(N, C, H, W)` whose shape fits."""
        return [x for x, one in self.values.items() if one.ndim == 4 and fits(tuple(one.shape))]

    def another(self, x: str, fits: Callable[[tuple[int, ...]], bool] | None = None) -> str:
        """An image of the same shape, or one that fits; `x` itself if there is no other."""
        wanted = self.shape(x)
        found = [one for one in self.images(fits or (lambda shape: shape == wanted)) if one != x]
        return self.among(*found) if found else x

    # Text.

    def argument(self, expression: str) -> str:
        """Add an input; return its name."""
        name = f"a{len(self.arguments)}"
        self.arguments[name] = expression
        self.values[name] = eval(expression, dict(SCOPE))
        return name

    def layer(self, expression: str) -> str:
        """Add a layer, `nn.Conv2d(3, 8, 1)`; return how the text calls it."""
        self._names += 1
        name = f"m{self._names}"
        made = eval(expression, dict(SCOPE))
        settle(made, self.generator)
        self.module.add_module(name, made.eval())
        self.layers.append(f"self.{name} = {expression}")
        return f"self.{name}"

    def buffer(self, expression: str) -> str:
        """Add a constant tensor; return how the text calls it."""
        self._names += 1
        name = f"b{self._names}"
        self.module.register_buffer(name, eval(expression, dict(SCOPE)))
        self.layers.append(f'self.register_buffer("{name}", {expression})')
        return f"self.{name}"

    def line(self, expression: str) -> str:
        """Add `x3 = ...`; return the name.

        Raises:
            Unfit: If its numbers cannot be compared, or are too many.
        """
        value = self._run(expression)
        self._names += 1
        name = f"x{self._names}"
        self.lines.append(f"{name} = {expression}")
        self.values[name] = value
        return name

    def write(self, statement: str, written: str) -> str:
        """Add a statement that writes to a value, `x3.mul_(2)` or `x3[:, 1:] += 1`; return it."""
        with torch.no_grad():
            exec(statement, dict(SCOPE), {"self": self.module, **self.values})
        self.lines.append(statement)
        check_fit(self.values[written])
        return written

    def _run(self, expression: str) -> Tensor:
        with torch.no_grad():
            value = eval(expression, dict(SCOPE), {"self": self.module, **self.values})
        check_fit(value)
        return value

    def attempt(self, block: Callable[["Drawing", str], str], x: str) -> str | None:
        """Draw a block; take it back, and return None, if it does not fit."""
        before = len(self.layers), len(self.lines), dict(self.values)
        try:
            return block(self, x)
        except (Unfit, RuntimeError, ValueError, IndexError, NotImplementedError):
            del self.layers[before[0] :], self.lines[before[1] :]
            self.values = before[2]
            return None


def check_fit(value: Tensor) -> None:
    """Raises: Unfit: If rounding could make all the difference, or there is too much of it."""
    if not 0 < value.numel() <= MOST_NUMBERS:
        raise Unfit
    size = float(value.abs().max())
    if not math.isfinite(size) or size > 1e3 or (size and size < 1e-3):
        raise Unfit


@torch.no_grad()
def settle(module: nn.Module, generator: torch.Generator) -> None:
    """Draw weights that keep numbers in size, and statistics as if from a training."""
    for one in module.modules():
        weight, bias = getattr(one, "weight", None), getattr(one, "bias", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            weight.normal_(std=(1.5 / weight[0].numel()) ** 0.5, generator=generator)
        elif isinstance(weight, Tensor):
            weight.uniform_(0.5, 1.5, generator=generator)
        if isinstance(bias, Tensor):
            bias.normal_(std=0.3, generator=generator)
        if isinstance(one, nn.BatchNorm2d):
            assert one.running_mean is not None
            assert one.running_var is not None
            one.running_mean.normal_(std=0.3, generator=generator)
            one.running_var.uniform_(0.5, 2, generator=generator)
