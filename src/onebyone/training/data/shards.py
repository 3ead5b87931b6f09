"""Shards of photos: tar files in the format of the package webdataset, on this machine.

The package streams shards, in an order that depends on what was read before. Here they are indexed
once, and each photo is read where it lies: so a step's photos follow from its number, as they do
with other data.
"""

import io
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from onebyone.errors import DataError, PhotoError, first_line
from onebyone.packages import require
from onebyone.training.data.data import Data
from onebyone.training.data.examples import ONE_IN, Numbers, are_to_test
from onebyone.training.data.photos import Reading, make_photo_data
from onebyone.training.data.shard_index import ShardIndex, index_shard, join_indexes

_LOG = logging.getLogger(__name__)

BETWEEN = "::"
"""What stands between the shards to train on and those to test with."""

CLASSES_FILE = "classes.txt"
"""Beside the first shard: the classes' names, one a line, if they are to have some."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardExamples:
    """Photos in shards.

    Attributes:
        shards: The tar files.
        of: The number of each photo's shard.
        index: What they are called, where they lie and what they show.
    """

    shards: Sequence[Path]
    of: Numbers
    index: ShardIndex

    @property
    def targets(self) -> Numbers:
        """The classes' numbers."""
        return self.index.targets

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.index.keys)

    def name(self, number: int) -> str:
        """Return a photo's shard and key."""
        return f"{self.shards[self.of[number]]}: {os.fsdecode(self.index.keys[number])}"

    def open(self, number: int) -> tuple[Path, BinaryIO | None]:
        """Read a photo out of its shard.

        Raises:
            PhotoError: If it cannot be read.
        """
        try:
            descriptor = os.open(self.shards[self.of[number]], os.O_RDONLY | os.O_CLOEXEC)
            try:
                size, start = int(self.index.sizes[number]), int(self.index.starts[number])
                content = os.pread(descriptor, size, start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PhotoError(
                f"{self.name(number)} cannot be read ({error.strerror or first_line(error)})"
            ) from error
        return Path(self.name(number)), io.BytesIO(content)

    def part(self, chosen: NDArray[np.bool_]) -> "ShardExamples":
        """Return some of the photos."""
        return ShardExamples(self.shards, self.of[chosen], self.index.part(chosen))


def read_shards(place: str, reading: Reading) -> Data:
    """Read shards: TRAIN::TEST, each a path with braces such as `train-{000..099}.tar`.

    Without `::TEST`, a fifth of the photos test.

    Raises:
        DataError: If they cannot be read, or are not what they should be.
        MissingPackageError: If webdataset is not installed.
    """
    parts = place.split(BETWEEN)
    if len(parts) > 2 or not all(parts):
        raise DataError(
            f"webdataset:{place}: webdataset:TRAIN or webdataset:TRAIN{BETWEEN}TEST was wanted; "
            "name several shards by braces: shard-{000..009}.tar, {a,b}.tar"
        )
    paths = [_expand(part) for part in parts]
    if twice := set(paths[0]).intersection(*paths[1:]) if len(paths) > 1 else None:
        raise DataError(f"{min(twice)} is to train on and to test with; name it once")
    train, *tests = map(_join, paths)
    names = _read_names(paths[0][0].with_name(CLASSES_FILE))
    count = _count_classes(train, names, paths[0])
    train, test = (train, tests[0]) if tests else _divide(train)
    _check_targets(test, count)
    classes = names or tuple(map(str, range(count)))
    return make_photo_data(f"webdataset:{place}", train, test, classes, reading)


def _expand(pattern: str) -> list[Path]:
    """Return the shards that a pattern stands for.

    Raises:
        DataError: If it is none, or they are not on this machine.
    """
    require("reading shards", "webdataset")
    from webdataset.shardlists import expand_urls

    try:
        found = [text.removeprefix("file:") for text in expand_urls(pattern)]
    except ValueError as error:
        raise DataError(f"{pattern}: {first_line(error)}; write shard-{{000..009}}.tar") from error
    for text in found:
        if re.match(r"[\w+.-]+:", text) and not Path(text).exists():
            raise DataError(
                f"{text}: shards must be files on this machine, so that a run can go on at any "
                "step; download them first"
            )
    return [Path(text) for text in found]


def _join(paths: Sequence[Path]) -> ShardExamples:
    """Return the photos of all shards, in their order."""
    indexes = [index_shard(path) for path in paths]
    of = np.repeat(np.arange(len(paths)), [len(index.keys) for index in indexes])
    return ShardExamples(paths, of, join_indexes(indexes))


def _read_names(path: Path) -> tuple[str, ...]:
    """Return the classes' names; none without the file."""
    if not path.exists():
        return ()
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({first_line(error)}); the classes' names were wanted, one a "
            "line"
        ) from error


def _count_classes(train: ShardExamples, names: Sequence[str], paths: Sequence[Path]) -> int:
    """Return the number of classes, each of which has photos to train on.

    Raises:
        DataError: If one has none, there is one only, or the names are not as many.
    """
    present = np.unique(train.targets)
    largest = int(present[-1])
    if len(present) <= largest:
        missing = int(np.setdiff1d(np.arange(len(present) + 1), present)[0])
        raise DataError(
            f"{paths[0]} and the like have classes up to {largest}, and no photo of class "
            f"{missing}; all numbers from 0 on were wanted"
        )
    if len(present) < 2:
        raise DataError(f"{paths[0]} and the like have one class only; two or more were wanted")
    if names and len(names) != len(present):
        raise DataError(
            f"{paths[0].with_name(CLASSES_FILE)} names {len(names)} classes, and the shards have "
            f"{len(present)}; as many were wanted"
        )
    return len(present)


def _check_targets(test: ShardExamples, count: int) -> None:
    if (outside := np.flatnonzero(test.targets >= count)).size:
        number = int(outside[0])
        raise DataError(
            f"{test.name(number)} is of class {int(test.targets[number])}, and there are photos to "
            f"train on of classes 0 to {count - 1}"
        )


def _divide(whole: ShardExamples) -> tuple[ShardExamples, ShardExamples]:
    """Return what to train on and what to test with."""
    chosen = are_to_test(whole.index.keys)
    train, test = whole.part(~chosen), whole.part(chosen)
    if not len(test) or len(np.unique(train.targets)) < len(np.unique(whole.targets)):
        raise DataError(
            f"{whole.shards[0]} and the like have too few photos for a fifth of them to test; add "
            f"more, or name shards to test with: webdataset:TRAIN{BETWEEN}TEST"
        )
    _LOG.info(
        "no shards to test with: %d of %d photos do, about one in %d, chosen by their names",
        len(test),
        len(whole),
        ONE_IN,
    )
    return train, test
