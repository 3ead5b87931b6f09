"""What a user calls data, and who reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from onebyone.errors import DataError, UnknownNameError, did_you_mean
from onebyone.training.data.data import Data
from onebyone.training.data.digits import read_digits
from onebyone.training.data.idx import FASHION_MNIST, MNIST, read_idx_source


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of data.

    Attributes:
        read: Reads it, given what stands behind the colon, "" for nothing.
        place: What stands behind the colon, such as "DIR"; "" if nothing may.
        needs_place: Whether it has to be there.
    """

    read: Callable[[str], Data]
    place: str = ""
    needs_place: bool = False


SOURCES: dict[str, Source] = {
    "digits": Source(lambda _: read_digits()),
    "mnist": Source(partial(read_idx_source, MNIST), "DIR"),
    "fashion-mnist": Source(partial(read_idx_source, FASHION_MNIST), "DIR"),
}
"""Kinds of data by name."""


def read_data(text: str) -> Data:
    """Read the data that a user names, such as "digits" or "fashion-mnist:DIR".

    Raises:
        UnknownNameError: If there is no such data; names the nearest.
        DataError: If it cannot be had or read, or its place is missing or not wanted.
        MissingPackageError: If it takes a package that is not installed.

    Example:
        >>> data = read_data("digits")
        >>> len(data.train), len(data.test), data.image_shape
        (1437, 360, (1, 8, 8))
    """
    name, colon, place = text.partition(":")
    source = SOURCES.get(name)
    if source is None:
        known = ", ".join(map(_spell, SOURCES))
        raise UnknownNameError(
            f"no data {name!r}{did_you_mean(name, SOURCES) or ';'} there are {known}"
        )
    if colon and not source.place:
        raise DataError(f"{name} takes nothing behind a colon, and {place!r} came; say {name}")
    if not place and (colon or source.needs_place):
        raise DataError(f"{text}: what to read is missing; say {name}:{source.place}")
    return source.read(place)


def _spell(name: str) -> str:
    source = SOURCES[name]
    if not source.place:
        return name
    return f"{name}:{source.place}" if source.needs_place else f"{name}[:{source.place}]"
