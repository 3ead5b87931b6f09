"""JSON values, read as the types that they were written from.

What comes from a file is checked before anything is built of it: a damaged description is one line,
and never an object of the wrong shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    Union,  # pyright: ignore[reportDeprecated]
    get_args,
    get_origin,
    get_type_hints,
)


class MisfitError(ValueError):
    """Report a value that is not what its type says, behind the place where it stands."""


def read_as(kind: Any, value: object, place: str = "") -> Any:
    """Return a value of JSON as the type that it was written from.

    Lists become tuples and objects dataclasses. Nothing else is converted, but for whole numbers
    where fractions are wanted. Fields that a dataclass does not have are passed over.

    Args:
        kind: A dataclass; None, bool, int, float, str or Any; a tuple, a mapping, a union or words
            (`Literal`), of these.
        value: As `json.loads` gives it.
        place: Where it stands, for the error: "stages.3.channels".

    Raises:
        MisfitError: If it is no such value, or the dataclass refuses it.

    Example:
        >>> read_as(tuple[float, ...], [1, 2.5])
        (1.0, 2.5)
        >>> read_as(tuple[float, ...], [1, "2.5"])
        Traceback (most recent call last):
        onebyone.typed.MisfitError: 1: a number was wanted, and '2.5' came
    """
    if is_dataclass(kind):
        return _read_dataclass(kind, value, place)
    if read := _COMPOSED.get(get_origin(kind)):
        return read(get_args(kind), value, place)
    return _read_plain(kind, value, place)


def _read_dataclass(kind: Any, value: object, place: str) -> Any:
    if not isinstance(value, Mapping):
        raise _misfit(place, "an object", value)
    hints = get_type_hints(kind)
    read: dict[str, Any] = {}
    for field in fields(kind):
        inside = _within(place, field.name)
        if field.name in value:
            read[field.name] = read_as(hints[field.name], value[field.name], inside)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise MisfitError(f"{inside}: it is missing")
    try:
        return kind(**read)
    except ValueError as error:
        raise MisfitError(_within(place, str(error), ": ")) from error


def _read_union(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    misfits: list[MisfitError] = []
    for kind in kinds:
        try:
            return read_as(kind, value, place)
        except MisfitError as error:
            misfits.append(error)
    raise misfits[0]


def _read_word(words: tuple[Any, ...], value: object, place: str) -> Any:
    if not isinstance(value, str) or value not in words:
        raise _misfit(place, " or ".join(map(repr, words)), value)
    return value


def _read_tuple(kinds: tuple[Any, ...], value: object, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _misfit(place, "a list", value)
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise _misfit(place, f"a list of {len(kinds)}", value)
    pairs = zip(kinds, value, strict=True)
    return tuple(
        read_as(kind, one, _within(place, str(index))) for index, (kind, one) in enumerate(pairs)
    )


def _read_mapping(kinds: tuple[Any, ...], value: object, place: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _misfit(place, "an object", value)
    return {
        read_as(kinds[0], name, place): read_as(kinds[1], one, _within(place, str(name)))
        for name, one in value.items()
    }


_COMPOSED: Mapping[Any, Callable[[tuple[Any, ...], object, str], Any]] = {
    Union: _read_union,  # pyright: ignore[reportDeprecated]  (of words and None)
    UnionType: _read_union,
    Literal: _read_word,
    tuple: _read_tuple,
    dict: _read_mapping,
    Mapping: _read_mapping,
}

_PLAIN: Mapping[Any, tuple[str, tuple[type, ...]]] = {
    Any: ("anything", (object,)),
    None: ("null", (NoneType,)),
    NoneType: ("null", (NoneType,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (float, int)),
    str: ("text", (str,)),
}
"""What a plain type is called, and what of Python's types it is read from."""


def _read_plain(kind: Any, value: object, place: str) -> Any:
    wanted, taken = _PLAIN[kind]
    is_number = kind in (int, float)
    if not isinstance(value, taken) or (is_number and isinstance(value, bool)):  # True is an int
        raise _misfit(place, wanted, value)
    try:
        return float(value) if kind is float and isinstance(value, int) else value
    except OverflowError as error:
        raise MisfitError(_within(place, "the number is too large", ": ")) from error


def _misfit(place: str, wanted: str, value: object) -> MisfitError:
    return MisfitError(_within(place, f"{wanted} was wanted, and {value!r:.60} came", ": "))


def _within(place: str, name: str, between: str = ".") -> str:
    return f"{place}{between}{name}" if place else name
