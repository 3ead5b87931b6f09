"""What the commands print, and where: results on stdout, all else on stderr."""

import json
import logging
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress, track

WIDTH = 100
"""Columns of a table where there is no terminal that has a width of its own."""

Item = TypeVar("Item")


def stdout() -> Console:
    """Return the console that results go to."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def stderr() -> Console:
    """Return the console that progress and errors go to."""
    return Console(stderr=True, highlight=False)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps(content, indent=2, allow_nan=False))  # noqa: T201


def print_error(message: str) -> None:
    """Print one line on stderr that says what went wrong; odd characters of names are spelt out."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    print(f"onebyone: {''.join(shown)}", file=sys.stderr)  # noqa: T201


@contextmanager
def show_notices() -> Generator[None]:
    """Print what the library says of waiting for others, such as the hub, on stderr."""
    logger, notices = logging.getLogger("onebyone"), _Notices()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(notices)
    try:
        yield
    finally:
        logger.removeHandler(notices)
        logger.setLevel(level)


class _Notices(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)  # noqa: T201


def tell(message: str) -> None:
    """Tell a person who is watching what takes its time; pipes and files are told nothing."""
    if sys.stderr.isatty():
        stderr().print(message, style="dim", markup=False)


def progress(items: Iterable[Item], description: str) -> Iterable[Item]:
    """Show a progress bar on stderr while the items are gone through, if a person is watching."""
    return track(
        items, description, console=stderr(), transient=True, disable=not sys.stderr.isatty()
    )


def watch(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Show a progress bar that is drawn between items, and never while one is measured."""
    bar = Progress(
        console=stderr(), transient=True, auto_refresh=False, disable=not sys.stderr.isatty()
    )
    with bar:
        task = bar.add_task(description, total=len(items))
        bar.refresh()
        for item in items:
            yield item
            bar.update(task, advance=1, refresh=True)


def bar(share: float, width: int = 20) -> str:
    """Draw a share, 0 to 1, as a bar of eighths of a character.

    Example:
        >>> bar(0.5, width=4), bar(0.3, width=4)
        ('██', '█▎')
    """
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
