"""Small constant matrices times vectors, written out."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from onebyone.compiler.choose.filtering import Matrix
from onebyone.compiler.emit.code import Code


def transform(code: Code, matrix: Matrix, vectors: Sequence[Any]) -> list[Any]:
    """Return `matrix @ vectors`; what mirrored points share is computed once."""
    matrix, vectors = _fold_columns(code, matrix, vectors)
    results: list[Any] = [None] * len(matrix)
    for index, row in enumerate(matrix):
        if results[index] is not None:
            continue
        mirror = next(
            (
                other
                for other in range(index + 1, len(matrix))
                if _mirrored(row) == matrix[other] != row
            ),
            None,
        )
        if mirror is None:
            results[index] = _combine(code, row, vectors)
            continue
        even = _combine(code, _every_other(row, 0), vectors)
        odd = _combine(code, _every_other(row, 1), vectors)
        results[index] = code.builder.fadd(even, odd)
        results[mirror] = code.builder.fsub(even, odd)
    return results


def _mirrored(row: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Return the row of the opposite point: odd powers change their sign."""
    return tuple(-x if power % 2 else x for power, x in enumerate(row))


def _every_other(row: Sequence[Fraction], first: int) -> tuple[Fraction, ...]:
    return tuple(x if power % 2 == first else Fraction(0) for power, x in enumerate(row))


def _fold_columns(
    code: Code, matrix: Matrix, vectors: Sequence[Any]
) -> tuple[Matrix, Sequence[Any]]:
    """Replace vectors of opposite points by their sum, for even rows, and difference, for odd."""
    columns = list(zip(*matrix, strict=True))
    folded = list(vectors)
    for index, column in enumerate(columns):
        for other in range(index + 1, len(columns)):
            if len(matrix) > 1 and _mirrored(column) == columns[other] != column:
                left, right = folded[index], folded[other]
                folded[index] = code.builder.fadd(left, right)
                folded[other] = code.builder.fsub(left, right)
                columns[index] = _every_other(column, 0)
                columns[other] = _every_other(column, 1)
                break
    return tuple(zip(*columns, strict=True)), folded


def _combine(code: Code, row: Sequence[Fraction], vectors: Sequence[Any]) -> Any:
    """Return the sum of vectors times numbers; those times 1 first."""
    terms = sorted(
        ((number, vector) for number, vector in zip(row, vectors, strict=True) if number),
        key=lambda term: (term[0] != 1, abs(term[0]) != 1),
    )
    (number, total), *rest = terms
    if number != 1:
        total = code.builder.fmul(total, code.splat(float(number)))
    for number, vector in rest:
        if number == 1:
            total = code.builder.fadd(total, vector)
        elif number == -1:
            total = code.builder.fsub(total, vector)
        else:
            total = code.multiply_add(vector, code.splat(float(number)), total)
    return total
