"""What is kept between runs, in a folder that nobody else can write to.

What lies there is run as machine code. So a folder or a file is only used if it belongs to this
user and others cannot write to it; that is looked at once it is open, and never by name. Files are
written under another name and renamed, so a reader has a whole one or none. A writer holds a lock
on its file, which goes with its process: what nobody holds is left over, and is swept away.

A file begins with a page that says what it is (its head, one line of JSON) and ends with that
line's digest. What comes behind is the business of those who keep it.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from onebyone.errors import CacheError

LARGEST_BYTES = 8 << 30
"""What all files together may take."""

PAGE = 4096

STALE_SECONDS = 3600
"""Age at which an unfinished file is left over even if its lock cannot be had."""

REFUSED = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES)
"""How opening a link, a folder, a socket, or what is somebody else's is answered."""

NAME = re.compile(r"[0-9a-f]{64}(-\d+)?")
UNFINISHED = re.compile(rf"\.{NAME.pattern}\.[0-9a-f]{{16}}")


def folder_path() -> Path:
    """Return where files lie: `ONEBYONE_CACHE_DIR`, or a folder among the user's caches.

    Raises:
        CacheError: If the user has no home.
    """
    named = os.environ.get("ONEBYONE_CACHE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "onebyone" / "compiled"
    try:
        return Path.home() / ".cache" / "onebyone" / "compiled"
    except RuntimeError as error:
        raise CacheError(
            "compiled networks are not kept: this user has no home; name a folder in "
            "ONEBYONE_CACHE_DIR"
        ) from error


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the folder, as it lies there.

    Args:
        name: What it is found by.
        size: In bytes.
        used: When it was last asked for, in seconds since 1970.
    """

    name: str
    size: int
    used: float


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder, open, and known to be the user's own.

    Args:
        path: What people call it.
        descriptor: What it is used by, so that another folder of that name is never meant.
    """

    path: Path
    descriptor: int

    def open(self, name: str) -> BinaryIO:
        """Open a file to read it.

        Raises:
            FileNotFoundError: If there is none.
            CacheError: If it is no ordinary file, or not the user's own.
        """

        def opener(name: str, flags: int) -> int:
            # No link is followed, and no pipe waited for.
            return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.descriptor)

        place = self.path / name
        try:
            file = open(name, "rb", buffering=0, opener=opener)  # noqa: SIM115
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            raise CacheError(f"{place} is not used ({error.strerror}); remove it") from error
        try:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise CacheError(f"{place} is not used (no ordinary file); remove it")
            _check_own(place, facts)
        except CacheError:
            file.close()
            raise
        return file

    @contextmanager
    def writing(self, name: str) -> Generator[BinaryIO]:
        """Give a file to write to; it takes its name, and another's place, when it is whole."""
        unfinished = f".{name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(unfinished, flags, 0o600, dir_fd=self.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with suppress(OSError):  # a file system without locks: its age tells
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield file
            os.rename(unfinished, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            self._remove(unfinished)
            raise

    def kept(self) -> list[Kept]:
        """Return what lies there, least recently used first; files of other names are not ours."""
        return sorted(self._files(NAME), key=lambda one: (one.used, one.name))

    def bound(self, *, keep: str) -> None:
        """Remove what was not used for longest, until all is small enough; `keep` stays."""
        kept = self.kept()
        total = sum(one.size for one in kept)
        for one in kept:
            if total <= LARGEST_BYTES:
                return
            if one.name != keep:
                total -= one.size
                self._remove(one.name)

    def sweep(self) -> list[Kept]:
        """Remove what writers who are gone have left unfinished, and return it."""
        left = [one for one in self._files(UNFINISHED) if self._is_left(one)]
        for one in left:
            self._remove(one.name)
        return left

    def clear(self) -> list[Kept]:
        """Remove all that is kept or left over, and return it."""
        kept = self.kept()
        for one in kept:
            self._remove(one.name)
        return kept + self.sweep()

    def _files(self, names: re.Pattern[str]) -> Generator[Kept]:
        with os.scandir(self.descriptor) as found:
            for one in found:
                with suppress(FileNotFoundError):  # another process has removed it
                    facts = one.stat(follow_symlinks=False)
                    if names.fullmatch(one.name) and not stat.S_ISDIR(facts.st_mode):
                        yield Kept(one.name, facts.st_size, facts.st_mtime)

    def _is_left(self, one: Kept) -> bool:
        if time.time() - one.used > STALE_SECONDS:
            return True
        try:
            with self.open(one.name) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (OSError, CacheError):
            return False
        return True

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)


@contextmanager
def open_folder() -> Generator[Folder]:
    """Open the folder.

    Raises:
        OSError: If there is none, or something else is in its place.
        CacheError: If the user has no home, or it is not the user's own.
    """
    path = folder_path()
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_own(path, os.fstat(descriptor))
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def make_folder() -> None:
    """Make the folder if there is none, for this user only.

    Raises:
        OSError: If it cannot be made.
        CacheError: If the user has no home.
    """
    folder_path().mkdir(mode=0o700, parents=True, exist_ok=True)


def _check_own(place: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        raise CacheError(
            f"{place} is not used: it belongs to user {facts.st_uid}, and this is user "
            f"{os.geteuid()}; name a folder of your own in ONEBYONE_CACHE_DIR"
        )
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheError(
            f"{place} is not used: others may write to it (mode "
            f"{stat.S_IMODE(facts.st_mode):04o}); chmod go-w {place}, or name another folder in "
            "ONEBYONE_CACHE_DIR"
        )


def pack_head(facts: Mapping[str, Any]) -> bytes:
    """Return the page that a file begins with.

    Args:
        facts: What `json` can write, in a few lines.
    """
    line = json.dumps(facts).encode()
    room = PAGE - 2 * hashlib.sha256().digest_size - 2
    assert len(line) <= room, "a head says what a file is, in one page"
    return _sealed(line.ljust(room) + b"\n")


def read_head(file: BinaryIO) -> dict[str, Any]:
    """Return what `pack_head` was given.

    Raises:
        ValueError: If the file begins with anything else.
    """
    page = os.pread(file.fileno(), PAGE, 0)
    line = page[: page.find(b"\n") + 1]
    if page != _sealed(line):
        raise ValueError("this is no head")
    return json.loads(line)


def _sealed(line: bytes) -> bytes:
    return line + hashlib.sha256(line).hexdigest().encode() + b"\n"


def read_content(key: str) -> bytes | None:
    """Return what `keep_content` kept under a key.

    None if there is nothing, or if it is not as it was written: to make it again is all it costs.
    """
    try:
        with open_folder() as folder, folder.open(key) as file:
            head = read_head(file)
            content = os.pread(file.fileno(), head["bytes"], PAGE)
    except (CacheError, OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = head["key"] == key and hashlib.sha256(content).hexdigest() == head["digest"]
    return content if is_whole else None


def keep_content(key: str, content: bytes, summary: Mapping[str, Any]) -> None:
    """Keep some bytes under a key; a folder that cannot be written to is no reason to fail.

    Args:
        key: 64 hexadecimal digits.
        content: What is kept.
        summary: What `onebyone cache` tells of it.
    """
    head = {
        "key": key,
        "bytes": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
        "summary": dict(summary),
    }
    with suppress(CacheError, OSError):
        make_folder()
        with open_folder() as folder:
            with folder.writing(key) as file:
                file.write(pack_head(head))
                file.write(content)
            folder.bound(keep=key)


def total_size(kept: Iterable[Kept]) -> int:
    """Return what they take together, in bytes."""
    return sum(one.size for one in kept)
