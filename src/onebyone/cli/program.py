"""The program: its subcommands, and how it ends."""

import errno
import io
import os
import sys
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from onebyone import __version__
from onebyone.cli.bench import bench
from onebyone.cli.cache import cache
from onebyone.cli.console import print_error, show_notices
from onebyone.cli.demo import demo
from onebyone.cli.explain import explain
from onebyone.cli.export import export
from onebyone.cli.machine import machine
from onebyone.cli.models import models
from onebyone.cli.predict import predict
from onebyone.cli.shrink import shrink
from onebyone.cli.status import FAILURE, WRONG_USE
from onebyone.cli.study import study
from onebyone.cli.train import train
from onebyone.cli.tune import tune
from onebyone.errors import OneByOneError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write is answered with if there is no room."""

app = typer.Typer(
    name="onebyone",
    help="What the 1x1 convolutions of a CNN do, cost and could do without.",
    pretty_exceptions_enable=False,
)
app.command()(models)
app.command()(predict)
app.command()(train)
app.command()(study)
app.command()(explain)
app.command()(shrink)
app.command()(export)
app.command()(bench)
app.command()(tune)
app.command()(machine)
app.command()(demo)
app.command()(cache)


@dataclass
class Settings:
    """What a run of the program was told before its subcommand.

    Attributes:
        debug: Whether an error shows where in the code it arose.
    """

    debug: bool = False


def _set_debug(context: typer.Context, wanted: bool) -> None:
    context.obj.debug = wanted


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onebyone {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", callback=_set_debug, help="Show an error's traceback before its line."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """What the 1x1 convolutions of a CNN do, cost and could do without."""


def run_program(arguments: list[str]) -> int:
    """Run the subcommand that the arguments name, and return the exit status.

    Raises:
        KeyboardInterrupt: If Ctrl-C is pressed.
    """
    _prepare_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' warnings are for programmers
    with show_notices():
        return _run(arguments)


def _prepare_streams() -> None:
    # A program that was started with a closed stream gets None for it.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "✓" still gets its table


def _run(arguments: list[str]) -> int:
    settings = Settings()
    try:
        status = app(
            arguments or ["--help"], prog_name="onebyone", standalone_mode=False, obj=settings
        )
        sys.stdout.flush()
    except OneByOneError as error:
        if settings.debug:
            traceback.print_exception(error)
        print_error(str(error))
        return WRONG_USE
    except typer.TyperException as error:
        message = error.format_message()
        print_error(message if message.endswith(".") else f"{message}.")
        return WRONG_USE
    except typer.Abort as error:  # its word for Ctrl-C
        raise KeyboardInterrupt from error
    except BrokenPipeError:
        return _give_up_output(0)  # the reader, such as `head`, has seen enough
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _give_up_output(0)  # the same, where typer was the first to notice
    except OSError as error:
        if error.errno not in FULL:
            raise
        print_error(f"cannot write the output ({error.strerror}); make room, or write elsewhere")
        return _give_up_output(FAILURE)
    return status or 0


def _give_up_output(status: int) -> int:
    """Send what is still unwritten nowhere; else Python would complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
