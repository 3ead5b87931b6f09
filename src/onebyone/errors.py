"""What can go wrong, as a tree.

OneByOneError                  everything below; the command line prints its text and exits with 2
├── ShapeError                 (ValueError) sizes or settings that do not fit together
├── UnknownNameError           (LookupError) no model, weights or step of that name
├── MissingPackageError        an optional package is needed; the text has the pip line
├── ModelError                 a package or a user's file that does not give a network
├── WeightsError               weights or a checkpoint that cannot be read, or do not fit
├── PhotoError                 a photo that cannot be read, or would be read wrongly
├── DataError                  data to train on that cannot be had or read, or that is damaged
├── CacheError                 a folder or a file of the cache that cannot be used, or must not be
├── PredictionError            predictions of many photos that cannot begin, go on or be kept
├── TrainingError              a training that cannot begin, go on or be kept
├── ShrinkError                a network, images or a plan that nothing can be made narrower with
│   └── InfeasibleBudget       a budget that no network meets; says the smallest that one does
├── CompileError               a network that could not be turned into machine code
├── NativeError                a library that cannot be opened, or that refuses a call
├── EngineError                an engine of the benchmark that cannot be had, or that gave up
└── InvalidGraphError          a graph that breaks its own rules: our bug, please report it

FallbackWarning              (UserWarning) PyTorch runs what has no native code

A message says what was wanted, what came, where, and what to do. Each error takes that one message.
"""

import inspect
import signal
import sysconfig
import traceback
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class OneByOneError(Exception):
    """Stand at the root of all errors that a user can cause, and cure."""


class ShapeError(OneByOneError, ValueError):
    """Report sizes or settings that do not fit together."""


class UnknownNameError(OneByOneError, LookupError):
    """Report a name that stands for nothing."""


class MissingPackageError(OneByOneError):
    """Report an optional package that is not installed, or that does not import."""


class ModelError(OneByOneError):
    """Report a package or a user's file that does not give a network."""


class WeightsError(OneByOneError):
    """Report weights or a checkpoint that cannot be read, or that do not fit the network."""


class PhotoError(OneByOneError):
    """Report a photo that cannot be read, or that would be read wrongly."""


class DataError(OneByOneError):
    """Report data to train on that cannot be had or read, or that is damaged."""


class CacheError(OneByOneError):
    """Report a folder or a file of the cache that cannot be used, or must not be."""


class PredictionError(OneByOneError):
    """Report predictions of many photos that cannot begin, go on or be kept."""


class TrainingError(OneByOneError):
    """Report a training that cannot begin, go on or be kept."""


class ShrinkError(OneByOneError):
    """Report a network, images or a plan that nothing can be made narrower with."""


class InfeasibleBudget(ShrinkError):  # noqa: N818
    """Report a budget that no network meets; says the smallest that one does."""


class CompileError(OneByOneError):
    """Report a network that could not be turned into machine code; it still runs in PyTorch."""


class NativeError(OneByOneError):
    """Report a library without Python that cannot be opened, or that refuses a call."""


class EngineError(OneByOneError):
    """Report an engine of the benchmark that cannot be had, or that gave up."""


class InvalidGraphError(OneByOneError):
    """Report a graph that breaks its own rules, which is a bug of ours."""


class FallbackWarning(UserWarning):
    """Tell of what PyTorch runs, because there is no native code for it; results are the same."""


def warn_user(message: str) -> None:
    """Warn of a fallback at the line of the user's code that called us, or PyTorch, which did."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in ("onebyone", "torch"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, FallbackWarning, stacklevel=level)


@contextmanager
def located(place: str) -> Generator[None]:
    """Prefix an `OneByOneError` raised inside with the place that it concerns."""
    try:
        yield
    except OneByOneError as error:
        error.args = (f"{place}: {error}",)
        raise


def first_line(error: BaseException) -> str:
    r"""Return the first line of what an error says, or its kind if it says nothing.

    Example:
        >>> first_line(OSError("no space\nleft")), first_line(OSError())
        ('no space', 'OSError')
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def summary(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says.

    Example:
        >>> summary(KeyError("a"))
        "KeyError: 'a'"
    """
    return f"{type(error).__name__}: {first_line(error)}"


def exit_summary(status: int) -> str:
    """Return how a process ended, by its exit status; negative ones are those of signals.

    Example:
        >>> exit_summary(3), exit_summary(-11)
        ('ended with status 3', 'was killed by SIGSEGV')
    """
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (
        ", which is also what happens when memory gives out" if name == "SIGKILL" else ""
    )


def located_summary(error: BaseException) -> str:
    """Return the summary of an error behind the line of the user's file that it arose at, if any.

    It is the innermost line that belongs neither to us, nor to Python, nor to an installed package:
    "mine.py, line 3: KeyError: 'a'".
    """
    if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename):
        kind = type(error).__name__
        return f"{_shown(error.filename)}, line {error.lineno}: {kind}: {error.msg}"
    places = [
        f"{_shown(frame.f_code.co_filename)}, line {line}: "
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_users(frame.f_code.co_filename)
    ]
    return "".join(places[-1:]) + summary(error)


def _is_users(filename: str) -> bool:
    path = Path(filename)
    others = (Path(__file__).parent, Path(sysconfig.get_path("stdlib")))
    is_installed = {"site-packages", "dist-packages"} & set(path.parts)
    return path.is_file() and not is_installed and not any(map(path.is_relative_to, others))


def _shown(filename: str) -> Path:
    """Return a file's path, from the current folder on if it is in there."""
    path, here = Path(filename), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Check that an argument is one of the words that it may be.

    Raises:
        UnknownNameError: If it is not.
    """
    choices = list(choices)
    if value not in choices:
        raise UnknownNameError(f"`{name}` (={value!r}) must be {' or '.join(map(repr, choices))}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the half-sentence that suggests the known names nearest to `name`, or nothing.

    Example:
        >>> did_you_mean("resnet52", ["resnet50", "resnet152", "googlenet"])
        "; did you mean 'resnet152' or 'resnet50'?"
        >>> did_you_mean("vgg", ["resnet50"])
        ''
    """
    by_lower_case = {one.lower(): one for one in known}
    lower = get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.7)
    nearest = [by_lower_case[one] for one in lower]
    return f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
