"""Writing files so that a reader only ever sees whole ones."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


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
