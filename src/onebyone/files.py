"""Looking at a user's files before reading them, and writing files that are whole or not there."""

import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp, mkstemp

from onebyone.errors import ModelError, OneByOneError


def check_file(path: Path, wanted: str, error: type[OneByOneError]) -> None:
    """Check that a path leads to a file that can be read and has something in it.

    Args:
        path: What a user named.
        wanted: What the file should be, such as "a photo".
        error: Kind of the error to raise.

    Raises:
        OneByOneError: Of the kind `error`, if it does not.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise error(f"{path} is a folder; {wanted} was wanted: name a file in it")
        if not path.is_file():
            raise error(f"{path} is no ordinary file; {wanted} was wanted: name a file on disk")
        path.open("rb").close()
    except FileNotFoundError as cause:
        raise error(f"{path}: {wanted} was wanted, and there is no such file") from cause
    except (OSError, ValueError) as cause:
        reason = cause.strerror if isinstance(cause, OSError) else cause
        raise error(f"{path} cannot be read ({reason}); {wanted} was wanted") from cause
    if size == 0:
        raise error(f"{path} is empty (0 bytes); {wanted} was wanted: get the file again")


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary name beside `path` to write to, and rename it to `path` at the end.

    If the writing fails, the temporary file is removed and what was at `path` stays as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answer.txt"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("42")
        >>> path.read_text()
        '42'
    """
    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner can read; give this one the usual mode.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, others_in: Callable[[Path], Sequence[str]]) -> Generator[Path]:
    """Give a new folder beside `path` to write to, and rename it to `path` at the end.

    If the writing fails, the new folder is removed and what was at `path` stays as it was.

    Args:
        path: The folder that is wanted.
        others_in: What must not be lost of a folder that is there: names of files in it.

    Raises:
        ModelError: If something else is there.
    """
    _check_replaceable(path, others_in)
    umask = os.umask(0)
    os.umask(umask)
    fresh = Path(mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
    try:
        yield fresh
        fresh.chmod(0o777 & ~umask)
        if path.exists():
            aside = Path(mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
            path.replace(aside / path.name)
            fresh.replace(path)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_replaceable(path: Path, others_in: Callable[[Path], Sequence[str]]) -> None:
    if not path.absolute().parent.is_dir():
        raise ModelError(f"a folder in a folder that is there was wanted; got {path}")
    if path.exists() and not path.is_dir():
        raise ModelError(f"a folder to write was wanted; {path} is a file")
    if path.is_dir() and (others := others_in(path)):
        raise ModelError(
            f"a folder that is not there, or that an export has written, was wanted; {path} has "
            f"other files, such as {others[0]}"
        )
