"""The program: its subcommands, and how it ends."""

import errno
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from onebyone import __version__
from onebyone.cli.bench import bench
from onebyone.cli.console import WRONG_USE, print_error
from onebyone.cli.demo import demo
from onebyone.cli.models import models
from onebyone.cli.predict import predict
from onebyone.errors import OneByOneError

FAILURE = 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write is answered with if there is no room."""

INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended: 128 + SIGINT."""

app = typer.Typer(
    name="onebyone",
    help="What the 1x1 convolutions of a CNN do, cost and could do without.",
    pretty_exceptions_enable=False,
)
app.command()(models)
app.command()(predict)
app.command()(bench)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onebyone {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """What the 1x1 convolutions of a CNN do, cost and could do without."""


def main() -> None:
    """Run the program and end it: status 0 for success, 2 and one line for a wrong use."""
    _prepare_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' warnings are for programmers
    sys.exit(_run(sys.argv[1:]))


def _prepare_streams() -> None:
    # A program that was started with a closed stream gets None for it.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "✓" still gets its table


def _run(arguments: list[str]) -> int:
    try:
        status = app(arguments or ["--help"], prog_name="onebyone", standalone_mode=False)
        sys.stdout.flush()
    except OneByOneError as error:
        print_error(str(error))
        return WRONG_USE
    except typer.TyperException as error:
        message = error.format_message()
        print_error(message if message.endswith(".") else f"{message}.")
        return WRONG_USE
    except typer.Abort:
        return INTERRUPTED
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
