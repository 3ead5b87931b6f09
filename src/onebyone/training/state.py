"""What a run needs to go on as if nothing had happened: one file, written whole or not at all."""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from onebyone.errors import OneByOneError, TrainingError, WeightsError, first_line, summary
from onebyone.files import replacing
from onebyone.models.weight_files import read_safetensors

STATE_FILE = "state.safetensors"
"""Its name in the folder of a run."""

FORMAT = 1
"""Raised by one whenever an older reader would misunderstand the file."""

_KEY = "onebyone-training"
_MEANT = "go on with the run as it was begun, or begin another one in another folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a run stands.

    Attributes:
        run: What it is a run of, as JSON: a resume must ask for the same.
        epoch: The epoch of the next step, from 0.
        step: The next step in it, from 0.
        seconds: Time that the epoch has taken so far.
        scale: State of float16's scaling; empty in other precisions.
        epochs: The rows of the epochs so far, as JSON.
        tensors: Weights, the optimizer's memory, and the loss of each step so far.
    """

    run: Mapping[str, Any]
    epoch: int
    step: int
    seconds: float = 0.0
    scale: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Mapping[str, Any], ...] = ()
    tensors: Mapping[str, Tensor]


def write_state(path: Path, state: State) -> None:
    """Write a state in place of the one before.

    Raises:
        TrainingError: If it cannot be written; the one before stays as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    content = {name: getattr(state, name) for name in _JSON} | {"format": FORMAT}
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in state.tensors.items()}
    with writing(path), replacing(path) as temporary:
        try:
            save_file(tensors, temporary, {_KEY: json.dumps(content, allow_nan=False)})
        except SafetensorError as error:
            raise OSError(None, first_line(error)) from error
        # Else a machine that loses its power could keep the new name, and nothing under it.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def read_state(path: Path) -> State:
    """Read the state that `write_state` wrote.

    Raises:
        TrainingError: If the file is damaged, none of ours, or too new.
    """
    try:
        tensors, metadata = read_safetensors(path)
    except WeightsError as error:
        raise TrainingError(str(error)) from error
    try:
        content = json.loads(metadata[_KEY])
        if content["format"] > FORMAT:
            raise TrainingError(
                f"{path} is of format {content['format']}, and this version of onebyone reads up "
                f"to {FORMAT}; install a newer one: pip install --upgrade onebyone"
            )
        return State(**{name: content[name] for name in _JSON}, tensors=tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is no state of a training, or damaged ({summary(error)}); begin in another "
            "folder"
        ) from error


_JSON = ("run", "epoch", "step", "seconds", "scale", "epochs")


def check_same_run(state: State, wanted: Mapping[str, Any], folder: Path) -> None:
    """Check that a state is of the run that is asked for.

    Raises:
        TrainingError: If it is not; names what differs.
    """
    different = first_difference(state.run, json.loads(json.dumps(wanted)))
    if different:
        name, there, here = different
        raise TrainingError(
            f"{folder} holds a run with {name} {there!r}, and {here!r} was asked for; {_MEANT}"
        )


def first_difference(
    there: Mapping[str, Any], here: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """Return where two nested JSON objects differ, and what each has there; None if they don't.

    Example:
        >>> first_difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
        ('a.b', 1, 3)
    """
    flat_there, flat_here = _flat(there), _flat(here)
    for name in (*flat_there, *(flat_here.keys() - flat_there.keys())):
        if flat_there.get(name) != flat_here.get(name):
            return name, flat_there.get(name), flat_here.get(name)
    return None


def _flat(content: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        inner = _flat(value, f"{start}{name}.") if isinstance(value, dict) else None
        flat |= {f"{start}{name}": value} if inner is None else inner
    return flat


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn what can go wrong in writing a file into one line.

    Raises:
        TrainingError: If it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"cannot write {path} ({error.strerror or first_line(error)}); make room, or name a "
            "folder that you may write to"
        ) from error
    except OneByOneError as error:
        raise TrainingError(str(error)) from error
