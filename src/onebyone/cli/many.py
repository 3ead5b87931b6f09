"""`onebyone predict --out`: what a person sees of predictions that go to a file."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from onebyone.cli.console import print_error, print_json, stderr, stdout, tell
from onebyone.cli.status import WRONG_USE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Task

    from onebyone.offline import Predictions
    from onebyone.offline import Progress as Reached


def write_predictions(
    predict: "Callable[..., Predictions]", *, as_json: dict[str, Any] | None
) -> int:
    """Let many photos be predicted, show how far that has come, and say what came of it.

    Args:
        predict: Does it, given `watch`.
        as_json: What the JSON object begins with, if that is to be printed.
    """
    tell("listing photos, and loading the network")
    with redirect_stdout(sys.stderr), _Bar() as bar:  # a user's file may print
        done = predict(watch=bar)
    for error in done.errors:
        print_error(error)
    if unnamed := done.failed - len(done.errors):
        print_error(f"{unnamed} more could not be read; {done.out} says why")
    if as_json is not None:
        print_json(as_json | _content(done))
    else:
        failed = f", {done.failed} could not be read" if done.failed else ""
        stdout().print(f"{done.images} photos{failed}: {done.out}", soft_wrap=True, markup=False)
    return WRONG_USE if done.failed else 0


def _content(done: "Predictions") -> dict[str, Any]:
    return {
        "engine": done.engine.value,
        "out": str(done.out),
        "images": done.images,
        "failed": done.failed,
    }


class _Speed(TextColumn):
    """Photos in a second, of those of the last seconds."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: "Task") -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "")


class _Bar:
    """A progress bar with speed and time left, if a person is watching."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("predicting"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=stderr(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task: Any = None

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, reached: "Reached") -> None:
        if self._task is None:  # what earlier runs did says nothing of the speed
            self._task = self._bar.add_task("", total=reached.total, completed=reached.images)
        self._bar.update(self._task, completed=reached.images)
