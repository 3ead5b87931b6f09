"""A result that is not whole yet: files in a folder beside it, each written whole or not at all.

RESULT.parts/
  run.json          what is predicted by what; a resume must ask for the same
  items.parquet     the photos in their order; a row group for each part
  0000000.parquet   the rows of one part
  lock              held by the process that is at work here
"""

import fcntl
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from onebyone.errors import PredictionError, first_line
from onebyone.files import replacing
from onebyone.offline.items import Item
from onebyone.offline.rows import Schema, Table, schema

PART_IMAGES = 256
"""Photos in a part, which is what a kill costs at most: some seconds of work, and in an ImageNet of
1.3 million photos some 5000 files."""

GROUP_PARTS = 64
"""Parts in a row group of the result: readers want some ten thousand rows in one."""

FORMAT = 1
"""Raised by one whenever the parts of an older version must not be gone on with."""

_KEY = b"onebyone"
_LOCK = "lock"
_ROWS = "[0-9]*.parquet"

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Parts:
    """The folder of a result that is not whole yet.

    Attributes:
        folder: Where the files lie.
    """

    folder: Path

    def from_anywhere(self) -> "Parts":
        """Return the same for a process that runs in another folder."""
        return Parts(self.folder.absolute())

    def list_items(self, items: Iterable[Item]) -> str:
        """Write down what is to be predicted, and return what stands for it: a count, a digest.

        Raises:
            PredictionError: If it cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        digest, count = sha256(), 0
        with _writing(self._items) as file, pq.ParquetWriter(file, _item_schema()) as writer:
            for part in _batched(items, PART_IMAGES):
                count += len(part)
                digest.update(json.dumps([(one.name, one.size) for one in part]).encode())
                rows = [
                    {
                        "name": item.name,
                        "path": os.fsencode(item.path),
                        "size": item.size,
                        "offset": item.offset,
                    }
                    for item in part
                ]
                writer.write_table(pa.Table.from_pylist(rows, _item_schema()))
        return f"{count} photos ({digest.hexdigest()[:16]})"

    def sizes(self) -> list[int]:
        """Return the number of photos in each part."""
        import pyarrow.parquet as pq

        facts = pq.read_metadata(self._items)
        return [facts.row_group(part).num_rows for part in range(facts.num_row_groups)]

    def missing(self, sizes: list[int]) -> list[int]:
        """Return the numbers of the parts that are not there, or not whole."""
        return [part for part, size in enumerate(sizes) if not _has_rows(self._part(part), size)]

    def items(self, parts: Iterable[int]) -> Iterator[Item]:
        """Give the photos of parts."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._items) as file:
            for part in parts:
                for row in file.read_row_group(part).to_pylist():
                    path = Path(os.fsdecode(row["path"]))
                    yield Item(row["name"], path, row["size"], row["offset"])

    def write(self, part: int, rows: Table) -> None:
        """Keep the rows of a part.

        Raises:
            PredictionError: If they cannot be written; then there is no such part.
        """
        import pyarrow.parquet as pq

        with _writing(self._part(part)) as file:
            pq.write_table(rows, file)

    def join(self, parts: int, out: Path, run: Mapping[str, Any]) -> None:
        """Write the rows of all parts to the result, which takes its name when it is whole.

        Raises:
            PredictionError: If it cannot be written, or a part is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = schema().with_metadata({_KEY: json.dumps(run).encode()})
        whole = self.folder / "result.parquet"
        with _writing(whole) as file, pq.ParquetWriter(file, columns) as writer:
            for numbers in _batched(range(parts), GROUP_PARTS):
                tables = [self._read(part).cast(columns) for part in numbers]
                writer.write_table(pa.concat_tables(tables))
        with _told(out):
            whole.replace(out)

    def read_run(self) -> dict[str, Any] | None:
        """Return what the parts are of; None if there are none yet."""
        try:
            return json.loads(self._run.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self._run, error) from error

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write down what the parts are of.

        Raises:
            PredictionError: If it cannot be written.
        """
        with _writing(self._run) as file:
            file.write(json.dumps(run, indent=2).encode())

    def forget(self) -> None:
        """Remove the rows that are there, which nothing says what they are of."""
        for path in self.folder.glob(_ROWS):
            path.unlink()

    def remove(self) -> None:
        """Remove the folder with all that is ours; what somebody else put there stays."""
        ours = ("items.parquet", "result.parquet", "run.json", _ROWS)
        for name in (*ours, *(f".{one}.*" for one in ours), _LOCK):
            for path in self.folder.glob(name):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    @property
    def _run(self) -> Path:
        return self.folder / "run.json"

    @property
    def _items(self) -> Path:
        return self.folder / "items.parquet"

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:07}.parquet"

    def _read(self, part: int) -> Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._part(part)
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from error


@contextmanager
def open_parts(out: Path) -> Generator[Parts]:
    """Give the folder of the parts of a result, for this process alone.

    Raises:
        PredictionError: If it cannot be made, or another process is at work there.
    """
    folder = out.with_name(f"{out.name}.parts")
    with _told(out, "name a place that you may write to"):
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open("wb")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PredictionError(
                f"another process is writing {out}; wait for its end, or write elsewhere"
            ) from error
        except OSError:
            pass  # a file system without locks
        parts = Parts(folder)
        try:
            yield parts
        finally:
            if not any(folder.glob(_ROWS)):  # there is nothing to go on with
                parts.remove()


def run_of(result: Path) -> dict[str, Any] | None:
    """Return what a result is of, as it says itself; None if it says nothing of the kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(result).metadata or {}
        return json.loads(metadata[_KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None


def _item_schema() -> Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("name", pa.string()),
            ("path", pa.binary()),  # names need not be text
            ("size", pa.int64()),
            ("offset", pa.int64()),
        ]
    )


def _has_rows(path: Path, count: int) -> bool:
    """Say whether a file is whole, and has so many rows; only its end is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows == count
    except (OSError, pa.ArrowException):
        return False


@contextmanager
def _writing(path: Path) -> Generator[Any]:
    """Give a file to write to, which takes its name when it is whole and on the disk.

    Raises:
        PredictionError: If it cannot be written.
    """
    with _told(path), replacing(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        # Else a machine that loses its power could keep the new name, and nothing under it.
        os.fsync(file.fileno())


@contextmanager
def _told(path: Path, cure: str = "make room, and the same command goes on") -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise PredictionError(
            f"cannot write {path} ({error.strerror or first_line(error)}); {cure}"
        ) from error


def _damaged(path: Path, error: Exception) -> PredictionError:
    return PredictionError(f"{path} is damaged ({first_line(error)}); remove it, and go on")


def _batched(items: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
