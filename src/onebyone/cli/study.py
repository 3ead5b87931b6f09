"""`onebyone study`: what is said of 1x1 convolutions, put to the test."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from onebyone.cli.console import print_error, print_json, stderr, stdout, tell
from onebyone.errors import UnknownNameError

if TYPE_CHECKING:
    from onebyone.studies import Reached, StudyResult


def study(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The study; --list names all.", show_default=False),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the studies, and end.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report and the trials; by default studies/NAME.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Trials of each network; by default as the study asks.", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials that run at a time; by default one a core.", show_default=False
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small form on digits, in about a minute.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Test by experiment what is said of 1x1 convolutions.

    Networks are trained with several seeds each, and compared seed by seed. What is done is kept:
    after Ctrl-C, the same command goes on.
    """
    from onebyone.studies.catalogue import STUDIES, check_study

    if show_list:
        if as_json:
            print_json({"studies": {key: entry.title for key, entry in STUDIES.items()}})
        else:
            _print_list({key: entry.title for key, entry in STUDIES.items()})
        return
    if name is None:
        raise UnknownNameError(f"a study was wanted: {', '.join(STUDIES)}")
    check_study(name)
    from onebyone.studies import run_study

    folder = Path("studies") / name if out is None else out
    with redirect_stdout(sys.stderr), _Bar() as bar:
        try:
            result = run_study(name, folder, seeds=seeds, jobs=jobs, quick=quick, watch=bar)
        except KeyboardInterrupt:
            if bar.reached:
                print_error(
                    f"stopped; {bar.reached.done} of {bar.reached.trials} trials are kept in "
                    f"{folder}, and the same command goes on"
                )
            raise
    if as_json:
        print_json(result.to_json())
    else:
        _print_result(result)


def _print_list(titles: dict[str, str]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("study", no_wrap=True)
    table.add_column("what it is of")
    for name, title in titles.items():
        table.add_row(name, title)
    stdout().print(table)


def _print_result(result: "StudyResult") -> None:
    for verdict in result.verdicts:
        stdout().print(verdict.comparison.question, style="bold", markup=False)
        stdout().print(f"  {verdict.text}", markup=False)
    stdout().print(f"\n{result.out / 'README.md'}", soft_wrap=True, markup=False)


class _Bar:
    """A progress bar with trials done and time left, if a person is watching.

    Attributes:
        reached: How far the study has come; None before its start.
    """

    reached: "Reached | None" = None

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("trials"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=stderr(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=None, visible=False, left="")

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, reached: "Reached") -> None:
        self.reached = reached
        self._bar.update(
            self._task,
            completed=reached.done,
            total=reached.trials,
            visible=True,
            left=_left(reached.seconds_left),
        )
        if trial := reached.last:
            row = trial.rows[trial.arm]
            tell(
                f"{trial.arm}, seed {trial.seed}: test accuracy {row['accuracy']:.2%}, test loss "
                f"{row['loss']:.4f}, {trial.seconds:.0f} s"
            )
        if reached.done == reached.trials:
            tell("measuring times and writing the report")


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
