"""Activation functions on vectors, in registers.

All let NaN through, as PyTorch does. Those that need an exponential are within a few units of the
last place of float32, relative to the largest value near them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I32, Code
from onebyone.graph import Function
from onebyone.graph.functions import FUNCTIONS, polynomial

SMALLEST_POWER, LARGEST_POWER = -87.33, 88.37
"""Between these, 2^n is a normal number of float32: n is -126 .. 127."""


POWERS = (1.4061269e-3, 8.3790189e-3, 4.1664775e-2, 1.6666365e-1, 0.50000006, 1.0, 1.0)
"""e^x for |x| <= ln(2) / 2 within 2.6e-9 of itself, the highest power first; 1 at 0.

Found by the algorithm of Remez.
"""


AT_ONCE = 8
"""Vectors that keep the units busy, as each step of one waits 4 cycles for the step before."""


def apply_function(code: Code, function: Function | None, values: Sequence[Any]) -> Sequence[Any]:
    """Return the function of each vector; None changes nothing.

    Vectors go through it step by step, `AT_ONCE` together: a processor sees too few instructions
    ahead to find work in the next vector while it waits for the steps of one.
    """
    if function is None:
        return values
    m, formula = _Instructions(code), FUNCTIONS[function.name].formula
    found: list[Any] = []
    for first in range(0, len(values), AT_ONCE):
        vectors = _Vectors(m, tuple(values[first : first + AT_ONCE]))
        found += formula(m, vectors, *function.parameters).values
    return found


def exponential(code: Code, value: Any) -> Any:
    """Return e to the power of each lane; 0 and infinity outside float32's normal range."""
    m = _Instructions(code)
    return m.exp(_Vectors(m, (value,))).values[0]


@dataclass(frozen=True, slots=True)
class _Instructions:
    """What formulas say (`graph.functions.Maths`), written as instructions."""

    code: Code

    def write(self, instruction: Callable[..., Any], *operands: Any) -> "_Vectors":
        """Write an instruction for each vector; a number is in all lanes of one."""
        columns = [
            one.values if isinstance(one, _Vectors) else repeat(self.code.splat(float(one)))
            for one in operands
        ]
        return _Vectors(self, tuple(instruction(*row) for row in zip(*columns, strict=False)))

    def exp(self, x: Any) -> "_Vectors":
        held = self.at_most(self.at_least(x, SMALLEST_POWER), LARGEST_POWER)
        result = self.where(x > LARGEST_POWER, math.inf, self.exp_between(held))
        return self.where(x < SMALLEST_POWER, 0.0, result)

    def exp_between(self, x: Any, factor: float = 1.0) -> "_Vectors":
        """Split into 2^n * e^(factor * r) with |factor * r| <= ln(2) / 2.

        Source: Cody and Waite, for ln(2) in two parts, where products are rounded.
        """
        # Numbers near 1.5 * 2^23 have no fraction, so adding that rounds; not every processor has
        # a vector instruction for it. The lowest bits of the sum are then n + 127, an exponent.
        shift = 1.5 * 2**23 + 127
        shifted = self.fma(x, factor / math.log(2), shift)
        power, rest = shifted - shift, x
        for part in (math.log(2),) if self.code.target.has_fma else (0.693359375, -2.12194440e-4):
            rest = self.fma(power, -part / factor, rest)
        degree = len(POWERS) - 1
        powers = [one * factor ** (degree - index) for index, one in enumerate(POWERS)]
        # NaN has no exponent; any number will do, because the polynomial is NaN then.
        return polynomial(self, rest, powers) * self.write(self._exponent, shifted)

    def _exponent(self, value: Any) -> Any:
        """Return the number whose exponent is in the lowest bits of `value`."""
        b = self.code.builder
        exponent = b.shl(self._bits(value), self._integers(23))
        return b.bitcast(exponent, self.code.vector_type)

    def reciprocal(self, x: Any) -> "_Vectors":
        """Within a unit of the last place.

        A division keeps its unit busy for as long as 16 to 32 multiply-adds. What is left of the
        error of a guess is its square after a step of Newton's, and then the cube of that after a
        step of the third order: below 2^-25.
        """
        guess = self.write(self._guess, x)
        better = self.fma(guess, self.fma(-x, guess, 1), guess)
        error = self.fma(-x, better, 1)
        return self.fma(better, self.fma(error, error, error), better)

    def _guess(self, value: Any) -> Any:
        """Return the reciprocal within 5.1 %: minus a number's bits is nearly its logarithm."""
        b = self.code.builder
        guess = b.sub(self._integers(0x7EF311C7), self._bits(value))
        return b.bitcast(guess, self.code.vector_type)

    def _bits(self, value: Any) -> Any:
        return self.code.builder.bitcast(value, ir.VectorType(I32, self.code.lanes))

    def _integers(self, number: int) -> ir.Constant:
        return ir.Constant(ir.VectorType(I32, self.code.lanes), [number] * self.code.lanes)

    def abs(self, x: Any) -> "_Vectors":
        return self.write(partial(self.code.unary, "fabs"), x)

    def copysign(self, size: Any, sign: Any) -> "_Vectors":
        return self.write(partial(self.code.binary, "copysign"), size, sign)

    def fma(self, left: Any, right: Any, total: Any) -> "_Vectors":
        return self.write(self.code.multiply_add, left, right, total)

    def at_least(self, x: Any, bound: float) -> "_Vectors":
        """One instruction where `max(bound, NaN)` is NaN."""
        return self.where(x < bound, bound, x)

    def at_most(self, x: Any, bound: float) -> "_Vectors":
        return self.where(x > bound, bound, x)

    def where(self, condition: Any, yes: Any, no: Any) -> "_Vectors":
        return self.write(self.code.builder.select, condition, yes, no)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Vectors that go through the same formula, with the operators of a number."""

    m: _Instructions
    values: tuple[Any, ...]

    def _of(self, instruction: str, *operands: Any) -> "_Vectors":
        return self.m.write(getattr(self.m.code.builder, instruction), *operands)

    def __neg__(self) -> "_Vectors":
        return self._of("fneg", self)

    def __add__(self, other: Any) -> "_Vectors":
        return self._of("fadd", self, other)

    def __radd__(self, other: Any) -> "_Vectors":
        return self._of("fadd", other, self)

    def __sub__(self, other: Any) -> "_Vectors":
        return self._of("fsub", self, other)

    def __rsub__(self, other: Any) -> "_Vectors":
        return self._of("fsub", other, self)

    def __mul__(self, other: Any) -> "_Vectors":
        return self._of("fmul", self, other)

    def __rmul__(self, other: Any) -> "_Vectors":
        return self._of("fmul", other, self)

    def __truediv__(self, other: Any) -> "_Vectors":
        return self._of("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> "_Vectors":
        return self._of("fdiv", other, self)

    def __lt__(self, other: Any) -> "_Vectors":
        return self.m.write(partial(self.m.code.builder.fcmp_ordered, "<"), self, other)

    def __gt__(self, other: Any) -> "_Vectors":
        return self.m.write(partial(self.m.code.builder.fcmp_ordered, ">"), self, other)
