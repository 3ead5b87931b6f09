"""Activation functions on vectors, in registers.

All let NaN through, as PyTorch does. Those that need an exponential are within a few units of the
last place of float32, relative to the largest value near them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import Code
from onebyone.graph import Function
from onebyone.graph.functions import FUNCTIONS, polynomial

SMALLEST_POWER, LARGEST_POWER = -87.33, 88.37
"""Between these, 2^n is a normal number of float32: n is -126 .. 127."""


def apply_function(code: Code, function: Function | None, value: Any) -> Any:
    """Return the function of a vector; None changes nothing."""
    if function is None:
        return value
    m = _Instructions(code)
    return FUNCTIONS[function.name].formula(m, _Vector(m, value), *function.parameters).value


def exponential(code: Code, value: Any) -> Any:
    """Return e to the power of each lane; 0 and infinity outside float32's normal range.

    Split into 2^n * e^r with |r| <= ln(2) / 2; e^r by its Taylor series to the 7th power, whose
    first term left out is below 2^-32. (Source: Cody and Waite, for ln(2) in two parts.)
    """
    b, m = code.builder, _Instructions(code)
    low, high = code.splat(SMALLEST_POWER), code.splat(LARGEST_POWER)
    is_low, is_high = b.fcmp_ordered("<", value, low), b.fcmp_ordered(">", value, high)
    value = b.select(is_low, low, b.select(is_high, high, value))
    # Numbers near 1.5 * 2^23 have no fraction, so adding that rounds; not every processor has a
    # vector instruction for it. The lowest bits of the sum are then n + 127, a float's exponent.
    shift = code.splat(1.5 * 2**23 + 127)
    shifted = code.multiply_add(value, code.splat(1 / math.log(2)), shift)
    power = b.fsub(shifted, shift)
    rest = code.multiply_add(power, code.splat(-0.693359375), value)
    rest = code.multiply_add(power, code.splat(2.12194440e-4), rest)
    total = polynomial(m, _Vector(m, rest), [1 / math.factorial(n) for n in range(7, -1, -1)])
    integers = ir.VectorType(ir.IntType(32), code.lanes)
    exponent = b.shl(b.bitcast(shifted, integers), ir.Constant(integers, [23] * code.lanes))
    # NaN has no exponent; any number will do, because `total` is NaN then.
    result = b.fmul(total.value, b.bitcast(exponent, code.vector_type))
    return b.select(is_low, code.splat(0.0), b.select(is_high, code.splat(math.inf), result))


@dataclass(frozen=True, slots=True)
class _Instructions:
    """What formulas say (`graph.functions.Maths`), written as instructions."""

    code: Code

    def write(self, instruction: Callable[..., Any], *operands: Any) -> "_Vector":
        return _Vector(self, instruction(*(self.vector(operand).value for operand in operands)))

    def vector(self, operand: Any) -> "_Vector":
        """Return a vector as it is, and a number in all lanes of one."""
        is_vector = isinstance(operand, _Vector)
        return operand if is_vector else _Vector(self, self.code.splat(float(operand)))

    def exp(self, x: Any) -> "_Vector":
        return self.write(partial(exponential, self.code), x)

    def abs(self, x: Any) -> "_Vector":
        return self.write(partial(self.code.unary, "fabs"), x)

    def copysign(self, size: Any, sign: Any) -> "_Vector":
        return self.write(partial(self.code.binary, "copysign"), size, sign)

    def fma(self, left: Any, right: Any, total: Any) -> "_Vector":
        return self.write(self.code.multiply_add, left, right, total)

    def at_least(self, x: Any, bound: float) -> "_Vector":
        """One instruction where `max(bound, NaN)` is NaN."""
        low = self.vector(bound)
        return self.where(low > x, low, x)

    def at_most(self, x: Any, bound: float) -> "_Vector":
        high = self.vector(bound)
        return self.where(high < x, high, x)

    def where(self, condition: Any, yes: Any, no: Any) -> "_Vector":
        return self.write(self.code.builder.select, condition, yes, no)


@dataclass(frozen=True, slots=True)
class _Vector:
    """A vector, with the operators of a number."""

    m: _Instructions
    value: Any

    def _of(self, instruction: str, *operands: Any) -> "_Vector":
        return self.m.write(getattr(self.m.code.builder, instruction), *operands)

    def __neg__(self) -> "_Vector":
        return self._of("fneg", self)

    def __add__(self, other: Any) -> "_Vector":
        return self._of("fadd", self, other)

    def __radd__(self, other: Any) -> "_Vector":
        return self._of("fadd", other, self)

    def __sub__(self, other: Any) -> "_Vector":
        return self._of("fsub", self, other)

    def __rsub__(self, other: Any) -> "_Vector":
        return self._of("fsub", other, self)

    def __mul__(self, other: Any) -> "_Vector":
        return self._of("fmul", self, other)

    def __rmul__(self, other: Any) -> "_Vector":
        return self._of("fmul", other, self)

    def __truediv__(self, other: Any) -> "_Vector":
        return self._of("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> "_Vector":
        return self._of("fdiv", other, self)

    def __lt__(self, other: Any) -> "_Vector":
        return self.m.write(partial(self.m.code.builder.fcmp_ordered, "<"), self, other)

    def __gt__(self, other: Any) -> "_Vector":
        return self.m.write(partial(self.m.code.builder.fcmp_ordered, ">"), self, other)
