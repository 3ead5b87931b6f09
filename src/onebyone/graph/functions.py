"""Activation functions: a row of one table says all that is known of each.

Capture, PyTorch, native code and explanations go by it, so that a new function is a new row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, pi, sqrt
from typing import Any, Concatenate, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Maths(Protocol):
    """What formulas say of values, besides `+ - * / < >`; numbers may stand for values."""

    def exp(self, x: Any) -> Any:
        """`e^x`."""

    def exp_between(self, x: Any, factor: float = 1.0) -> Any:
        """`e^(factor * x)`, where that power is within -87 and 88; any number beyond."""

    def reciprocal(self, x: Any) -> Any:
        """`1 / x`, where x is within 1 and 2^124; any number beyond."""

    def abs(self, x: Any) -> Any:
        """`|x|`."""

    def copysign(self, size: Any, sign: Any) -> Any:
        """`|size|`, with the sign of the other."""

    def fma(self, left: Any, right: Any, total: Any) -> Any:
        """`left * right + total`, rounded once where the processor can."""

    def at_least(self, x: Any, bound: float) -> Any:
        """The larger of the two, and NaN where x is."""

    def at_most(self, x: Any, bound: float) -> Any:
        """The smaller of the two, and NaN where x is."""

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        """One value where the condition holds, the other elsewhere."""


Formula = Callable[Concatenate[Maths, Any, ...], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationFunction:
    """What is known of a function `f` of one number.

    Attributes:
        pytorch: `f` of a tensor, and of its parameters.
        formula: `f` in native code: of what it is written with, a value, and its parameters.
        error: How far the formula may be from `f` besides rounding; relative to x where |x| > 1.
        parameters: Their names, as PyTorch's operator has them.
        operator: PyTorch's (its name in `torch.ops.aten`), if that is `f` whatever its arguments.
        cost: Time it takes, in multiply-adds, about.
        breakpoints: Where linear pieces meet, from the parameters; None if any piece is curved.
        is_gate: Whether its value is a factor where it is multiplied with something else.
        self_gated: What `x * f(x)` is called, if that has a name.
    """

    pytorch: Callable[..., Tensor]
    formula: Formula
    error: float = 0.0
    parameters: tuple[str, ...] = ()
    operator: str | None = None
    cost: int = 1
    breakpoints: Callable[[tuple[float, ...]], tuple[float, ...]] | None = None
    is_gate: bool = False
    self_gated: str | None = None


def polynomial(m: Maths, x: Any, coefficients: Sequence[float]) -> Any:
    """Return a polynomial, the highest power first."""
    total: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        total = m.fma(total, x, coefficient)
    return total


def _leaky_relu(m: Maths, x: Any, slope: float) -> Any:
    return m.where(x < 0, x * slope, x)


def _clamp(m: Maths, x: Any, low: float, high: float) -> Any:
    """Hold x between two bounds; infinite ones are left out."""
    if low > -inf:
        x = m.at_least(x, low)
    return m.at_most(x, high) if high < inf else x


def _hardsigmoid(m: Maths, x: Any) -> Any:
    return _clamp(m, m.fma(x, 1 / 6, 0.5), 0, 1)


def _sigmoid(m: Maths, x: Any) -> Any:
    """1 / (1 + e^(-x)), and 0 where that is below 2^-124."""
    lowest, highest = -86, 87
    power = m.exp_between(m.at_most(m.at_least(x, lowest), highest), -1)
    return m.where(x < lowest, 0, m.reciprocal(1 + power))


def _tanh(m: Maths, x: Any) -> Any:
    """(1 - e) / (1 + e) with e = e^(-2 |x|), and the sign of x; a series where x is small.

    Source: Moshier's Cephes, tanhf.
    """
    size = m.at_most(m.abs(x), 43)  # beyond, it is 1
    small = m.exp_between(size, -2)
    quotient = (1 - small) * m.reciprocal(1 + small)
    square = x * x
    coefficients = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 0.133314422036)
    series = polynomial(m, square, (*coefficients, -0.333332819422))
    near_zero = m.fma(series * square, x, x)
    # From 0.625 on, the quotient loses no digits.
    return m.where(size < 0.625, near_zero, m.copysign(quotient, x))


def _gelu(m: Maths, x: Any) -> Any:
    """X * (1 + erf(x / sqrt(2))) / 2, where 1 + erf(-s) is 1 - erf(s).

    Source: Abramowitz and Stegun 7.1.26 for 1 - erf, absolute error below 1.5e-7.
    """
    size = m.abs(x * sqrt(0.5))
    t = m.reciprocal(m.fma(m.at_most(size, 100), 0.3275911, 1))  # beyond, the tail is 0
    coefficients = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    tail = polynomial(m, t, coefficients) * t * m.exp(-(size * size))
    twice = m.where(x < 0, tail, 2 - tail)
    return x * 0.5 * twice


def _gelu_tanh(m: Maths, x: Any) -> Any:
    bend = _tanh(m, m.fma(x * x * x, 0.044715, x) * sqrt(2 / pi))
    return x * 0.5 * (1 + bend)


FUNCTIONS: dict[str, ActivationFunction] = {
    "relu": ActivationFunction(
        pytorch=F.relu,
        formula=lambda m, x: m.at_least(x, 0),
        operator="relu",
        breakpoints=lambda _: (0.0,),
    ),
    "relu6": ActivationFunction(
        pytorch=F.relu6,
        formula=lambda m, x: _clamp(m, x, 0, 6),
        operator="relu6",
        breakpoints=lambda _: (0.0, 6.0),
    ),
    "leaky_relu": ActivationFunction(
        pytorch=F.leaky_relu,
        formula=_leaky_relu,
        parameters=("negative_slope",),
        operator="leaky_relu",
        breakpoints=lambda _: (0.0,),
    ),
    # A bound that there is none of is infinite.
    "clamp": ActivationFunction(
        pytorch=torch.clamp,
        formula=_clamp,
        parameters=("min", "max"),
        breakpoints=lambda bounds: tuple(filter(isfinite, bounds)),
    ),
    "sigmoid": ActivationFunction(
        pytorch=torch.sigmoid,
        formula=_sigmoid,
        operator="sigmoid",
        cost=4,
        is_gate=True,
        self_gated="silu",
    ),
    "silu": ActivationFunction(
        pytorch=F.silu,
        formula=lambda m, x: x * _sigmoid(m, x),
        operator="silu",
        cost=4,
    ),
    "hardsigmoid": ActivationFunction(
        pytorch=F.hardsigmoid,
        formula=_hardsigmoid,
        operator="hardsigmoid",
        breakpoints=lambda _: (-3.0, 3.0),
        is_gate=True,
        self_gated="hardswish",
    ),
    "hardswish": ActivationFunction(
        pytorch=F.hardswish,
        formula=lambda m, x: x * _hardsigmoid(m, x),
        operator="hardswish",
    ),
    "tanh": ActivationFunction(
        pytorch=torch.tanh,
        formula=_tanh,
        error=5e-9,
        operator="tanh",
        cost=4,
        is_gate=True,
    ),
    "gelu": ActivationFunction(
        pytorch=F.gelu,
        formula=_gelu,
        error=0.75e-7,
        cost=4,
    ),
    "gelu_tanh": ActivationFunction(
        pytorch=partial(F.gelu, approximate="tanh"),
        formula=_gelu_tanh,
        error=5e-9,
        cost=4,
    ),
}
