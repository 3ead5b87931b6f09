"""Activation functions on vectors, in registers.

All let NaN through, as PyTorch does. Those that need an exponential are within a few units of the
last place of float32, relative to the largest value near them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import Code
from onebyone.graph import Function

SMALLEST_POWER, LARGEST_POWER = -87.33, 88.37
"""Between these, 2^n is a normal number of float32: n is -126 .. 127."""

SMALL_TANH = 0.625
"""Below, tanh is summed up as a series, as the quotient would lose digits."""


def apply_function(code: Code, function: Function | None, value: Any) -> Any:
    """Return the function of a vector; None changes nothing."""
    if function is None:
        return value
    return FUNCTIONS[function.name](code, value, *function.parameters)


def at_least(code: Code, value: Any, bound: float) -> Any:
    """Return the larger of value and bound; one instruction where `max(bound, NaN)` is NaN."""
    low = code.splat(bound)
    return code.builder.select(code.builder.fcmp_ordered(">", low, value), low, value)


def at_most(code: Code, value: Any, bound: float) -> Any:
    """Return the smaller of value and bound."""
    high = code.splat(bound)
    return code.builder.select(code.builder.fcmp_ordered("<", high, value), high, value)


def exponential(code: Code, value: Any) -> Any:
    """Return e to the power of each lane; 0 and infinity outside float32's normal range.

    Split into 2^n * e^r with |r| <= ln(2) / 2; e^r by its Taylor series to the 7th power, whose
    first term left out is below 2^-32. (Source: Cody and Waite, for ln(2) in two parts.)
    """
    b = code.builder
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
    total = _polynomial(code, rest, [1 / math.factorial(order) for order in range(7, -1, -1)])
    integers = ir.VectorType(ir.IntType(32), code.lanes)
    exponent = b.shl(b.bitcast(shifted, integers), ir.Constant(integers, [23] * code.lanes))
    # NaN has no exponent; any number will do, because `total` is NaN then.
    result = b.fmul(total, b.bitcast(exponent, code.vector_type))
    return b.select(is_low, code.splat(0.0), b.select(is_high, code.splat(math.inf), result))


def relu(code: Code, value: Any) -> Any:
    """max(0, x)."""
    return at_least(code, value, 0.0)


def clamp(code: Code, value: Any, low: float, high: float) -> Any:
    """Hold x between two bounds; infinite ones are left out."""
    if low > -math.inf:
        value = at_least(code, value, low)
    return at_most(code, value, high) if high < math.inf else value


def relu6(code: Code, value: Any) -> Any:
    """Hold x between 0 and 6."""
    return clamp(code, value, 0.0, 6.0)


def leaky_relu(code: Code, value: Any, slope: float) -> Any:
    """Return x, or slope * x below zero."""
    below = code.builder.fmul(value, code.splat(slope))
    return code.builder.select(code.builder.fcmp_ordered("<", value, code.splat(0.0)), below, value)


def sigmoid(code: Code, value: Any) -> Any:
    """1 / (1 + e^-x)."""
    b = code.builder
    return b.fdiv(code.splat(1.0), b.fadd(code.splat(1.0), exponential(code, b.fneg(value))))


def silu(code: Code, value: Any) -> Any:
    """X / (1 + e^-x)."""
    b = code.builder
    return b.fdiv(value, b.fadd(code.splat(1.0), exponential(code, b.fneg(value))))


def hardsigmoid(code: Code, value: Any) -> Any:
    """clamp(x + 3, 0, 6) / 6."""
    b = code.builder
    return b.fmul(clamp(code, b.fadd(value, code.splat(3.0)), 0.0, 6.0), code.splat(1 / 6))


def hardswish(code: Code, value: Any) -> Any:
    """X * clamp(x + 3, 0, 6) / 6."""
    return code.builder.fmul(value, hardsigmoid(code, value))


def tanh(code: Code, value: Any) -> Any:
    """(1 - e) / (1 + e) with e = e^(-2 |x|), and the sign of x; a series where x is small.

    Source: Moshier's Cephes, tanhf.
    """
    b = code.builder
    size = code.unary("fabs", value)
    small = exponential(code, b.fmul(size, code.splat(-2.0)))
    quotient = b.fdiv(b.fsub(code.splat(1.0), small), b.fadd(code.splat(1.0), small))
    square = b.fmul(value, value)
    coefficients = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 0.133314422036)
    series = _polynomial(code, square, (*coefficients, -0.333332819422))
    near_zero = code.multiply_add(b.fmul(series, square), value, value)
    is_small = b.fcmp_ordered("<", size, code.splat(SMALL_TANH))
    return b.select(is_small, near_zero, code.binary("copysign", quotient, value))


def gelu(code: Code, value: Any) -> Any:
    """X * (1 + erf(x / sqrt(2))) / 2, where 1 + erf(-s) is 1 - erf(s).

    Source: Abramowitz and Stegun 7.1.26 for 1 - erf, absolute error below 1.5e-7.
    """
    b = code.builder
    size = code.unary("fabs", b.fmul(value, code.splat(math.sqrt(0.5))))
    t = b.fdiv(code.splat(1.0), code.multiply_add(size, code.splat(0.3275911), code.splat(1.0)))
    coefficients = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    series = b.fmul(_polynomial(code, t, coefficients), t)
    tail = b.fmul(series, exponential(code, b.fneg(b.fmul(size, size))))
    is_negative = b.fcmp_ordered("<", value, code.splat(0.0))
    twice = b.select(is_negative, tail, b.fsub(code.splat(2.0), tail))
    return b.fmul(b.fmul(value, code.splat(0.5)), twice)


def _polynomial(code: Code, value: Any, coefficients: Sequence[float]) -> Any:
    """Return a polynomial, the highest power first."""
    total = code.splat(coefficients[0])
    for coefficient in coefficients[1:]:
        total = code.multiply_add(total, value, code.splat(coefficient))
    return total


def gelu_tanh(code: Code, value: Any) -> Any:
    """X * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2."""
    b = code.builder
    cube = b.fmul(b.fmul(value, value), value)
    inner = code.multiply_add(cube, code.splat(0.044715), value)
    bend = tanh(code, b.fmul(inner, code.splat(math.sqrt(2 / math.pi))))
    return b.fmul(b.fmul(value, code.splat(0.5)), b.fadd(code.splat(1.0), bend))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": relu,
    "relu6": relu6,
    "clamp": clamp,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "silu": silu,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "tanh": tanh,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}
