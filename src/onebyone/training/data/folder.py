"""Folders of photos: a folder a class."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from onebyone.errors import DataError
from onebyone.models.photo import SUFFIXES
from onebyone.training.data.data import Data
from onebyone.training.data.examples import ONE_IN, Numbers, are_to_test
from onebyone.training.data.photos import Reading, make_photo_data

_LOG = logging.getLogger(__name__)

TRAIN = "train"
TEST = ("val", "valid", "validation", "test")
"""Names of the folder to measure with; the first that is there is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class FolderExamples:
    """Photos in a folder, each in a file of its own.

    Attributes:
        root: The folder.
        names: The photos' paths in it, as the file system has them. In an array, because a million
            of Python's own objects would be copied into each worker as they are counted.
        targets: The classes' numbers.
    """

    root: Path
    names: NDArray[np.bytes_]
    targets: Numbers

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.names)

    def name(self, number: int) -> str:
        """Return a photo's path."""
        return str(self.root / os.fsdecode(self.names[number]))

    def open(self, number: int) -> tuple[Path, BinaryIO | None]:
        """Return a photo's path; its content is that of a file."""
        return Path(self.name(number)), None

    def part(self, chosen: NDArray[np.bool_]) -> "FolderExamples":
        """Return some of the photos."""
        return FolderExamples(self.root, self.names[chosen], self.targets[chosen])


def read_folder(place: str, reading: Reading) -> Data:
    """Read a folder: DIR/train/CLASS/photo.jpg and DIR/val/CLASS/photo.jpg, or DIR/CLASS/photo.jpg.

    Of the latter, a fifth tests. Files that are not named like photos, and hidden ones, are none;
    photos in folders within that of a class belong to it.

    Raises:
        DataError: If it cannot be read, or is not what it should be.
    """
    root = Path(place)
    names = _folders_in(root)
    named = next((name for name in TEST if name in names), None)
    if TRAIN in names and named:
        classes = _classes_in(root / TRAIN)
        _check_same(root, classes, _classes_in(root / named), named)
        train, test = (_find(root / part, classes) for part in (TRAIN, named))
    elif names == [TRAIN]:
        raise DataError(
            f"{root} has a folder {TRAIN}, and none to measure with ({' or '.join(TEST)}); add "
            f"that, or name imagefolder:{root / TRAIN} to have a part of it test"
        )
    else:
        classes = _classes_in(root)
        train, test = _divide(_find(root, classes), classes)
    return make_photo_data(f"imagefolder:{place}", train, test, classes, reading)


def _folders_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder}: a folder with a folder of photos for each class was wanted, and there is "
            "none"
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def _classes_in(folder: Path) -> tuple[str, ...]:
    classes = _folders_in(folder)
    if len(classes) < 2:
        what = f"one class only ({classes[0]})" if classes else "no folders in it"
        raise DataError(
            f"{folder} has {what}; two or more were wanted, each a folder of photos: "
            f"{folder}/CLASS/photo.jpg"
        )
    for name in classes:
        if not name.isprintable():
            raise DataError(f"{folder}: {name!r} cannot be a class's name; rename that folder")
    return tuple(classes)


def _check_same(root: Path, train: Sequence[str], test: Sequence[str], named: str) -> None:
    for here, there, names, others in ((TRAIN, named, train, test), (named, TRAIN, test, train)):
        if only := [name for name in names if name not in others]:
            listed = ", ".join(only[:3]) + (", ..." if len(only) > 3 else "")
            raise DataError(
                f"{root}: classes that are in {here} and not in {there}: {listed}; the same ones "
                "were wanted in both"
            )


def _find(root: Path, classes: Sequence[str]) -> FolderExamples:
    """Return all photos of a folder of classes.

    Raises:
        DataError: If a class has none.
    """
    by_class = [_photos_in(root, name) for name in classes]
    for name, photos in zip(classes, by_class, strict=True):
        if not photos:
            raise DataError(
                f"{root / name} has no photos ({', '.join(sorted(SUFFIXES))}); add some, or remove "
                "the folder"
            )
    names = np.array([os.fsencode(name) for photos in by_class for name in photos])
    return FolderExamples(root, names, np.repeat(np.arange(len(classes)), [*map(len, by_class)]))


def _photos_in(root: Path, name: str) -> list[str]:
    """Return the paths of a class's photos, from the root on."""
    found: list[str] = []
    start = len(str(root / name))
    for folder, inner, files in os.walk(root / name, onerror=_refuse):
        inner[:] = [one for one in inner if not one.startswith(".")]
        found += [
            f"{name}{folder[start:]}/{file}"
            for file in files
            if Path(file).suffix.lower() in SUFFIXES and not file.startswith(".")
        ]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise _unreadable(error.filename, error) from error


def _unreadable(folder: object, error: OSError | ValueError) -> DataError:
    reason = error.strerror if isinstance(error, OSError) else error
    return DataError(f"{folder} cannot be read ({reason}); a folder of photos was wanted")


def _divide(whole: FolderExamples, classes: Sequence[str]) -> tuple[FolderExamples, FolderExamples]:
    """Return what to train on and what to test with."""
    chosen = are_to_test(whole.names)
    train, test = whole.part(~chosen), whole.part(chosen)
    left = np.bincount(train.targets, minlength=len(classes))
    if not left.all() or not len(test):
        short = classes[int(left.argmin())]
        raise DataError(
            f"{whole.root} has too few photos for a fifth of them to test (class {short}: "
            f"{int(left.min())} left to train on); add more, or divide them yourself into "
            f"{TRAIN} and {TEST[0]}"
        )
    _LOG.info(
        "%s has no %s and %s: %d of its %d photos test, about one in %d, chosen by their names",
        whole.root,
        TRAIN,
        TEST[0],
        len(test),
        len(whole),
        ONE_IN,
    )
    return train, test
