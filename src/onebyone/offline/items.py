"""What is predicted, in an order that is the same each time: photos of a folder, shards, files."""

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from onebyone.errors import PhotoError
from onebyone.models.photo import SUFFIXES
from onebyone.offline.shards import expand, find_members, is_shard

_WANTED = "one folder, tar shards or photos were wanted"


@dataclass(frozen=True, slots=True)
class Item:
    """One photo to predict.

    Attributes:
        name: What it is called in the result.
        path: The file that it lies in, from the root on.
        size: In bytes, as it was found; 0 if there is no such file.
        offset: Where it begins in a shard, in bytes; None if the file is the photo.
    """

    name: str
    path: Path
    size: int
    offset: int | None = None

    @contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Give its content.

        Raises:
            PhotoError: If it cannot be read, or has nothing in it.
        """
        try:
            with open(self.path, "rb", opener=_open_at_once) as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise PhotoError(f"{self.name} is no ordinary file; a photo was wanted")
                if self.offset is None:
                    _check_size(self.name, facts.st_size)
                    yield file
                    return
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise PhotoError(
                f"{self.name} cannot be read ({error.strerror}); a photo was wanted"
            ) from error
        _check_size(self.name, len(content))
        yield BytesIO(content)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # no pipe is waited for


def _check_size(name: str, size: int) -> None:
    if size == 0:
        raise PhotoError(f"{name} is empty (0 bytes); a photo was wanted: get the file again")


class Kind(Enum):
    """What photos come in."""

    FOLDER = "a folder"
    SHARDS = "tar shards"
    FILES = "photos"


@dataclass(frozen=True, slots=True)
class Source:
    """Where photos are taken from.

    Attributes:
        kind: What they come in.
        paths: The folder; or shards or photos, in the order in which they were named.
    """

    kind: Kind
    paths: tuple[Path, ...]

    def items(self) -> Iterator[Item]:
        """Give the photos one after the other; the names of one folder at a time are in memory.

        A folder's are those whose names end as photos' do, at any depth, in the order of their
        paths' parts; hidden files and folders are left out, and links are followed.

        Raises:
            PhotoError: If a folder within or a shard cannot be read.
        """
        if self.kind is Kind.FOLDER:
            yield from _walk(self.paths[0].absolute(), "", ())
            return
        for path in self.paths:
            whole = path.absolute()
            if self.kind is Kind.FILES:
                yield Item(_shown(str(path)), whole, _size_of(whole))
                continue
            for key, offset, size in find_members(path):
                yield Item(_shown(f"{path}::{key}"), whole, size, offset)

    def check(self) -> None:
        """Check that there is at least one photo; as soon as there is, no more is looked at.

        Raises:
            PhotoError: If there is none; or as `items`.
        """
        if next(self.items(), None) is None:
            named = " ".join(map(str, self.paths[:3])) + (" ..." if len(self.paths) > 3 else "")
            raise PhotoError(f"{named}: no photo is in there{self._why()}")

    def _why(self) -> str:
        if self.kind is Kind.SHARDS:
            return "; members named KEY.jpg, KEY.png or the like were wanted"
        if shard := next(self.paths[0].glob("*.tar"), None):
            return f", but shards are; name those: {shard}"
        return "; files whose names end in .jpg, .png or the like were wanted"


def read_source(photos: Sequence[str | Path]) -> Source:
    """Return where photos are taken from, given a folder, or shards, or photos one by one.

    Raises:
        PhotoError: If it is a mixture, several folders or nothing, or nothing is there.
        MissingPackageError: As `shards.expand`.
    """
    names = [str(photo) for photo in photos]
    folders = [name for name in names if os.path.isdir(name)]  # noqa: PTH112  (of any text)
    shards = [name for name in names if name not in folders and is_shard(name)]
    if folders and len(names) > 1:
        raise _mixed(folders[0], next((one for one in names if one != folders[0]), folders[0]))
    if folders:
        return Source(Kind.FOLDER, (Path(folders[0]),))
    if shards and len(shards) < len(names):
        raise _mixed(shards[0], next(one for one in names if one not in shards))
    if shards:
        return Source(Kind.SHARDS, tuple(Path(one) for name in shards for one in expand(name)))
    if not any(os.path.exists(name) for name in names):  # noqa: PTH110
        named = f"{names[0]}: {_WANTED}, and there is no such file" if names else f"{_WANTED}"
        raise PhotoError(named)
    return Source(Kind.FILES, tuple(map(Path, names)))


def _mixed(first: str, other: str) -> PhotoError:
    return PhotoError(f"{_WANTED}, and {first} came with {other}; predict one at a time")


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Item]:
    """Give a folder's photos; `above` are the folders that it lies in, so that no link leads back.

    Raises:
        PhotoError: If it cannot be read.
    """
    try:
        facts = folder.stat()
        with os.scandir(folder) as found:
            names = sorted(one.name for one in found if not one.name.startswith("."))
    except OSError as error:
        raise PhotoError(
            f"{folder} cannot be read ({error.strerror}); a folder of photos was wanted"
        ) from error
    here = (facts.st_dev, facts.st_ino)
    if here in above:
        return
    for name in names:
        path = folder / name
        if path.is_dir():
            yield from _walk(path, f"{prefix}{name}/", (*above, here))
        elif path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink()):
            yield Item(_shown(prefix + name), path, _size_of(path))


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # to be said of the photo itself, when it is its turn


def _shown(name: str) -> str:
    r"""Return a name as text; bytes that are none are spelt out, such as \xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
