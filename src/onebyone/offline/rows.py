"""What is written of a photo: one row of the result."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onebyone.packages import require

Table = Any
"""A `pyarrow.Table`; that package has no types for checkers."""

Schema = Any
"""A `pyarrow.Schema`, likewise."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a network sees in one photo, or why it could not be read.

    Attributes:
        image: The photo's name.
        indexes: Numbers of the most probable classes, the best first; None if it was not read.
        labels: Their names.
        probabilities: Their probabilities, float32.
        error: Why it was not read, in one line; None if it was.
    """

    image: str
    indexes: list[int] | None = None
    labels: list[str] | None = None
    probabilities: list[float] | None = None
    error: str | None = None


def check_parquet() -> None:
    """Check that Parquet files can be written.

    Raises:
        MissingPackageError: If pyarrow is not installed.
    """
    require("writing Parquet files", "pyarrow")


def schema() -> Schema:
    """Return the columns of a result: the fields of `Row`."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("image", pa.string(), nullable=False),
            pa.field("indexes", pa.list_(pa.int32())),
            pa.field("labels", pa.list_(pa.string())),
            pa.field("probabilities", pa.list_(pa.float32())),
            pa.field("error", pa.string()),
        ]
    )


def table_of(rows: Iterable[Row]) -> Table:
    """Return rows as a table."""
    import pyarrow as pa

    columns = schema()
    rows = list(rows)
    arrays: list[Any] = [
        pa.array([getattr(row, column.name) for row in rows], column.type) for column in columns
    ]
    return pa.Table.from_arrays(arrays, schema=columns)
