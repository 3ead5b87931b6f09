"""Convolutions with fewer multiplications: Winograd's minimal filtering.

`m` outputs of a filter with `r` taps need `m + r - 1` multiplications instead of `m * r`, once the
inputs and the weights have been transformed: `y = A [(G g) * (B d)]`. In two dimensions rows and
columns are transformed one after the other; a kernel that has one row leaves the rows as they are.

Sources: Winograd, "Arithmetic complexity of computations" (1980); Lavin and Gray, "Fast algorithms
for convolutional neural networks" (2016).
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from onebyone.graph import (
    Convolution,
    Padding,
)

Matrix = tuple[tuple[Fraction, ...], ...]


POINTS: Mapping[int, tuple[str, ...]] = {
    4: ("0", "1", "-1"),
    6: ("0", "3/4", "-3/4", "3/2", "-3/2"),
    8: ("0", "1/2", "-1/2", "1", "-1", "2", "-2"),
    10: ("0", "3/8", "-3/8", "3/4", "-3/4", "5/4", "-5/4", "5/2", "-5/2"),
}
"""Where polynomials are evaluated, beside infinity, by the number of multiplications.

Those of small symmetric fractions that had the smallest errors in float32 on rectified normal
inputs: 3e-7 of the root mean square with 4 x 4 multiplications, 8e-7 with 6 x 6, 9e-7 with 8 and
2e-6 with 10 (a direct sum has 2e-7).
"""


OUTPUTS: Mapping[int, tuple[int, ...]] = {1: (1,), 3: (2, 4), 5: (2,), 7: (2, 4)}
"""How many outputs may be computed at once, by the number of taps."""


LARGEST_MULTIPLICATIONS = 36
"""Of one patch; more lose too many digits."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Compute `outputs` neighbours of a filter with `taps` taps, along one dimension."""

    outputs: int
    taps: int

    @property
    def inputs(self) -> int:
        """Numbers read, and multiplications."""
        return self.outputs + self.taps - 1

    def matrices(self) -> tuple[Matrix, Matrix, Matrix]:
        """Return the transforms A of products, G of weights and B of inputs."""
        return _matrices(self)


@functools.cache
def _matrices(one: Filter) -> tuple[Matrix, Matrix, Matrix]:
    """Transpose the multiplication of two polynomials.

    That evaluates both at the points and at infinity, multiplies, and interpolates (Toom and Cook).
    """
    if one.inputs == 1:
        identity = ((Fraction(1),),)
        return identity, identity, identity
    points = [Fraction(point) for point in POINTS[one.inputs]]
    a = [[*(p**i for p in points), Fraction(i == one.outputs - 1)] for i in range(one.outputs)]
    b, g = [], []
    for point in points:
        others = [other for other in points if other != point]
        scale = _evaluate(_polynomial(others), point)
        b.append([*_polynomial(others), Fraction(0)])
        g.append([point**k / scale for k in range(one.taps)])
    b.append(_polynomial(points))
    g.append([Fraction(k == one.taps - 1) for k in range(one.taps)])
    return _freeze(a), _freeze(g), _freeze(b)


def _polynomial(roots: Iterable[Fraction]) -> list[Fraction]:
    """Return the coefficients, lowest first, of the product of all `x - root`."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [up - down for up, down in zip(shifted, scaled, strict=True)]
    return coefficients


def _evaluate(coefficients: Iterable[Fraction], point: Fraction) -> Fraction:
    return sum((c * point**k for k, c in enumerate(coefficients)), Fraction(0))


def _freeze(rows: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


@dataclass(frozen=True, slots=True)
class Winograd:
    """Compute patches of `rows.outputs` x `columns.outputs` outputs."""

    rows: Filter
    columns: Filter

    @property
    def multiplications(self) -> int:
        """Of one patch, for one input and one output channel."""
        return self.rows.inputs * self.columns.inputs

    def patches(self, height: int, width: int) -> tuple[int, int]:
        """Return how many patches cover an image, down and across."""
        return -(-height // self.rows.outputs), -(-width // self.columns.outputs)

    def reach(self, node: Convolution, height: int, width: int) -> Padding:
        """Return the rows and columns outside of an input that the patches read."""
        top, _, left, _ = node.padding
        down, across = self.patches(*node.shape[2:])
        bottom = down * self.rows.outputs + self.rows.taps - 1 - top - height
        right = across * self.columns.outputs + self.columns.taps - 1 - left - width
        return top, max(0, bottom), left, max(0, right)

    def transform_weight(self, weight: Tensor) -> Tensor:
        """Return `(multiplications, N_out, C)` for weights `(N_out, C, height, width)`."""
        _, g_rows, _ = self.rows.matrices()
        _, g_columns, _ = self.columns.matrices()
        both = torch.kron(_tensor(g_rows), _tensor(g_columns))
        out_channels, depth = weight.shape[:2]
        exact = both @ weight.double().reshape(out_channels * depth, -1).t()
        return exact.float().view(-1, out_channels, depth)

    def __str__(self) -> str:
        """Name it as the literature does: F(outputs, taps)."""
        return (
            f"F({self.rows.outputs}x{self.columns.outputs}, {self.rows.taps}x{self.columns.taps})"
        )


def _tensor(matrix: Matrix) -> Tensor:
    return torch.tensor([[float(x) for x in row] for row in matrix], dtype=torch.float64)


@functools.cache
def winograds_for(kernel_size: tuple[int, int]) -> tuple[Winograd, ...]:
    """Return the ways to compute a convolution of that size."""
    height, width = kernel_size
    ways = [
        Winograd(Filter(down, height), Filter(across, width))
        for down in OUTPUTS.get(height, ())
        for across in OUTPUTS.get(width, ())
    ]
    return tuple(
        way
        for way in ways
        if kernel_size != (1, 1) and way.multiplications <= LARGEST_MULTIPLICATIONS
    )
