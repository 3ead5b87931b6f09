"""Telling plain arguments apart, more finely than Python does."""

from typing import Any


def exactly(value: Any) -> tuple[type, Any]:
    """Return what is equal only for the same value of the same type, and can be a key if it can.

    To Python, 1, 1.0 and True are equal, 0.0 and -0.0 too, and NaN is not even equal to itself;
    networks give other numbers, or other types, for each of them.

    Example:
        >>> exactly(0.0) == exactly(-0.0), exactly(1) == exactly(True)
        (False, False)
        >>> exactly(float("nan")) == exactly(float("nan"))
        True
    """
    return type(value), repr(value) if isinstance(value, (float, complex)) else value
