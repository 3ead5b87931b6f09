"""What a user calls data, and who reads it."""

from collections.abc import Callable
from dataclasses import dataclass

from onebyone.errors import DataError, UnknownNameError, did_you_mean
from onebyone.training.data.cifar10 import read_cifar10
from onebyone.training.data.data import Data
from onebyone.training.data.digits import read_digits
from onebyone.training.data.folder import read_folder
from onebyone.training.data.idx import FASHION_MNIST, MNIST, read_idx_source
from onebyone.training.data.photos import Reading
from onebyone.training.data.shards import read_shards


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of data.

    Attributes:
        read: Reads it, given what stands behind the colon, "" for nothing, and how photos are read.
        place: What stands behind the colon, such as "DIR"; "" if nothing may.
        needs_place: Whether it has to be there.
        has_photos: Whether they are photos of any size, which are read as a network wants them.
    """

    read: Callable[[str, Reading], Data]
    place: str = ""
    needs_place: bool = False
    has_photos: bool = False


SOURCES: dict[str, Source] = {
    "digits": Source(lambda _, __: read_digits()),
    "mnist": Source(lambda place, _: read_idx_source(MNIST, place), "DIR"),
    "fashion-mnist": Source(lambda place, _: read_idx_source(FASHION_MNIST, place), "DIR"),
    "cifar10": Source(lambda place, _: read_cifar10(place), "DIR-or-ARCHIVE"),
    "imagefolder": Source(read_folder, "DIR", needs_place=True, has_photos=True),
    "webdataset": Source(
        read_shards, "TRAIN-{000..099}.tar::TEST.tar", needs_place=True, has_photos=True
    ),
}
"""Kinds of data by name."""


def has_photos(text: str) -> bool:
    """Say whether the data that a user names are photos of any size."""
    source = SOURCES.get(text.partition(":")[0])
    return source is not None and source.has_photos


def read_data(text: str, reading: Reading | None = None) -> Data:
    """Read the data that a user names, such as "digits" or "imagefolder:DIR".

    Args:
        text: The name.
        reading: How photos are read; images that have a size of their own keep it.

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
    return source.read(place, reading or Reading())


def _spell(name: str) -> str:
    source = SOURCES[name]
    if not source.place:
        return name
    return f"{name}:{source.place}" if source.needs_place else f"{name}[:{source.place}]"
