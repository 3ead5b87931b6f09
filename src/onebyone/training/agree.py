"""What several processes that train together have to know of each other, to go on or to end."""

from typing import NoReturn

import torch
from torch import Tensor

from onebyone.errors import TrainingError
from onebyone.training.engine import Engine


def agree(
    engine: Engine, outcome: Tensor, signal: int, failure: TrainingError | None
) -> tuple[float, float, int]:
    """Return the processes' mean loss and accuracy, and the signal that any of them was sent.

    Raises:
        TrainingError: In the process that failed; the others end without a word.
    """
    extra = torch.tensor([float(signal), float(failure is not None)], device=engine.device)
    pulse = torch.cat([outcome.to(engine.device), extra])
    loss, accuracy, share, failed = engine.mean(pulse).tolist()
    if failed:
        leave(engine, failure)
    if not share:
        return loss, accuracy, 0
    return loss, accuracy, signal or 15  # another process was asked: SIGTERM


def leave(engine: Engine, error: TrainingError | None) -> NoReturn:
    """End all processes; the first one says why."""
    if engine.is_first and error:
        raise error
    raise SystemExit(0)
