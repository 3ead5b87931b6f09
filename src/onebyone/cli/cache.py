"""`onebyone cache`: compiled networks, and what else is kept on disk."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import typer
from rich.table import Table

from onebyone.cli.console import print_json, stdout
from onebyone.errors import CacheError
from onebyone.store import (
    LARGEST_BYTES,
    Folder,
    Kept,
    folder_path,
    open_folder,
    read_head,
    total_size,
)


class Action(Enum):
    """What is to be done with what is kept."""

    LIST = "list"
    CLEAR = "clear"


def cache(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.LIST,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List what is kept on disk, or clear it: compiled networks, times, speeds and indexes."""
    {Action.LIST: _list, Action.CLEAR: _clear}[action](as_json)


def _list(as_json: bool) -> None:
    rows = _from_folder(lambda folder: [_row(folder, one) for one in reversed(folder.kept())])
    size = sum(row["bytes"] for row in rows)
    if as_json:
        content = {"folder": str(folder_path()), "bytes": size, "largest_bytes": LARGEST_BYTES}
        print_json(content | {"entries": rows})
        return
    console = stdout()
    if rows:
        console.print(_table(rows))
        console.print()
    console.print(
        f"{folder_path()}: {_count(rows)}, {_megabytes(size)} of at most "
        f"{_megabytes(LARGEST_BYTES)}",
        markup=False,
        soft_wrap=True,
    )


def _clear(as_json: bool) -> None:
    gone = _from_folder(Folder.clear)
    size = total_size(gone)
    if as_json:
        print_json({"folder": str(folder_path()), "removed": len(gone), "freed_bytes": size})
        return
    stdout().print(
        f"{folder_path()}: removed {_count(gone)}, {_megabytes(size)} are free",
        markup=False,
        soft_wrap=True,
    )


def _from_folder(find: Callable[[Folder], list[Any]]) -> list[Any]:
    """Return what is found in the folder; nothing if there is no folder.

    Raises:
        CacheError: If it cannot be used.
    """
    try:
        with open_folder() as folder:
            return find(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CacheError(
            f"{folder_path()} cannot be used ({error.strerror}); name another folder in "
            "ONEBYONE_CACHE_DIR"
        ) from error


def _row(folder: Folder, one: Kept) -> dict[str, Any]:
    """Return what is known of an entry; of one that is damaged, only what the folder tells."""
    try:
        with folder.open(one.name) as file:
            summary = read_head(file)["summary"]
    except (OSError, ValueError, CacheError):
        summary = {}
    known = {
        name: summary.get(name)
        for name in (
            "layers",
            "inputs",
            "target",
            "numerics",
            "shard",
            "times",
            "machine",
            "wisdom",
        )
    }
    used = datetime.fromtimestamp(one.used).astimezone().isoformat(timespec="seconds")
    return {"name": one.name} | known | {"bytes": one.size, "last_used": used}


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("layers", justify="right")
    for heading in ("inputs", "target", "numerics"):
        table.add_column(heading)
    for heading in ("MB", "last used"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _short(row["name"]),
            _first(row),
            row["shard"]
            or row["times"]
            or row["machine"]
            or row["wisdom"]
            or ", ".join("x".join(map(str, shape)) for shape in row["inputs"] or ()),
            row["target"],
            row["numerics"],
            f"{row['bytes'] / 1e6:.1f}",
            row["last_used"][:16].replace("T", " "),
        )
    return table


def _first(row: dict[str, Any]) -> str:
    """Return a network's number of layers, or what else the file is."""
    if row["shard"]:
        return "index"
    if row["times"]:
        return "times"
    if row["machine"] is not None:
        return "speeds"
    if row["wisdom"]:
        return "wisdom"
    return "damaged" if row["layers"] is None else str(row["layers"])


def _short(name: str) -> str:
    """Shorten a name to what tells it from others; a network in parts has them numbered.

    Example:
        >>> _short("0123456789abcdef" * 4 + "-2")
        '01234567-2'
    """
    key, dash, number = name.partition("-")
    return key[:8] + dash + number


def _count(entries: Sequence[object]) -> str:
    return f"{len(entries)} {'file' if len(entries) == 1 else 'files'}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
