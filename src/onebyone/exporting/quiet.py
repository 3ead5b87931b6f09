"""Keeping what exporters and compilers write about themselves from a person."""

import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO


@contextmanager
def quiet() -> Generator[None]:
    """Drop warnings, logs and prints: tracers show whole programs before they give up.

    What they give up with is raised all the same, and says it in one line.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def silent() -> Generator[None]:
    """Drop what native code writes as well, on standard output and standard error."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with quiet(), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            for number in kept:
                os.dup2(nowhere.fileno(), number)
            yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
