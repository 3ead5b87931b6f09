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
from math import prod

import torch
from torch import Tensor

from onebyone.compiler.plan.tiles import choose_tiling, estimate_work
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph, Padding

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

LARGEST_GROWTH = 0.3
"""Of the memory that a network takes without: its weights, and its two largest values."""

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


# Which convolutions


def choose_winograds(graph: Graph, target: Target) -> dict[str, Winograd]:
    """Return the convolutions, by name, that take less time this way, and how.

    Transformed weights take more memory. While all of them take more than there is room for, the
    step back that costs the least time for its memory is taken.
    """
    nodes = [node for node in graph if isinstance(node, Convolution) and _fits(node)]
    ways = {node.name: _rank(node, target) for node in nodes}
    extra = {name: options[0].floats for name, options in ways.items()}
    room = _room(graph)
    while sum(extra.values()) > room:
        name = min(
            (name for name, options in ways.items() if len(options) > 1),
            key=lambda name: _price(ways[name]),
        )
        ways[name].pop(0)
        extra[name] = ways[name][0].floats
    return {name: options[0].way for name, options in ways.items() if options[0].way is not None}


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to compute a convolution: work, and floats of weights beyond those of the layer."""

    way: Winograd | None
    work: float
    floats: int


def _fits(node: Convolution) -> bool:
    return node.groups == 1 and node.stride == (1, 1) and node.dilation == (1, 1)


def _rank(node: Convolution, target: Target) -> list[_Option]:
    """Return the ways that are worth their memory, the fastest first, the direct one last.

    The number of images does not count, so that it does not change the results.
    """
    out_channels, depth, height, width = node.weight.shape
    options = [_Option(None, _work(node, target, None), 0)]
    for way in winograds_for((height, width)):
        floats = (way.multiplications - height * width) * out_channels * depth
        options.append(_Option(way, _work(node, target, way), floats))
    fastest: list[_Option] = []
    for option in sorted(options, key=lambda option: (option.work, option.floats)):
        if not fastest or option.floats < fastest[-1].floats:
            fastest.append(option)
    return fastest


def _price(options: list[_Option]) -> float:
    """Return the work that going back one step costs, for each float that it sets free."""
    faster, slower = options[:2]
    return (slower.work - faster.work) / (faster.floats - slower.floats)


def _room(graph: Graph) -> float:
    """Return how many floats of weights there may be in addition, for one image."""
    weights = sum(node.weight.numel() for node in graph if isinstance(node, Convolution))
    values = sorted(prod(node.shape[1:]) for node in graph)
    return LARGEST_GROWTH * (weights + sum(values[-2:]))


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


def _work(node: Convolution, target: Target, way: Winograd | None) -> float:
    """Estimate a core's work, in steps of one vector multiply-add, for one image."""
    _, channels, height, width = node.shape
    depth = node.weight.shape[1]
    if way is None:
        depth *= node.weight[0, 0].numel()
        tiling = choose_tiling(target, height * width, channels, depth)
        return estimate_work(target, tiling, depth) + WEIGHT_WORK * channels * depth
    down, across = way.patches(height, width)
    patches, products = down * across, way.multiplications
    tiling = choose_tiling(target, patches, channels, depth)
    vectors_in, vectors_out = (-(-count // target.lanes) for count in (depth, channels))
    return (
        products * estimate_work(target, tiling, depth)
        + patches * vectors_in * products * INPUT_WORK
        + patches * vectors_out * products * OUTPUT_WORK
        + WEIGHT_WORK * channels * depth * products
        + PHASE_WORK
    )


INPUT_WORK = 12.0
"""To transform one vector of inputs: load, three or four additions, store."""

OUTPUT_WORK = 10.0
"""To transform one vector of products."""

WEIGHT_WORK = 0.6
"""To bring one weight from memory."""

PHASE_WORK = 20_000.0
"""To wait for all threads once more."""
