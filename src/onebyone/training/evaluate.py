"""How good a network is on examples that it has not learnt from."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from onebyone.training.data.data import Split
from onebyone.training.engine import Engine


@dataclass(frozen=True, slots=True)
class Score:
    """What a network is worth on some examples.

    Attributes:
        accuracy: Share of the examples whose class is named first.
        loss: Mean cross-entropy, in nats.
        count: Number of examples.
    """

    accuracy: float
    loss: float
    count: int


@torch.no_grad()
def evaluate(network: nn.Module, split: Split, engine: Engine, *, batch_size: int) -> Score:
    """Return a network's score on a split, each example once over all processes.

    Args:
        network: In evaluation mode, on the engine's device, and not set up by it.
        split: Examples.
        engine: Where to compute.
        batch_size: Images that a process looks at together.
    """
    totals = torch.zeros(3, dtype=torch.float64, device=engine.device)  # loss, correct, count
    batches = split.batches(
        batch_size, epoch=None, rank=engine.rank, world=engine.world, device=engine.device
    )
    for batch in batches:
        with engine.autocast():
            scores = network(batch.images.contiguous(memory_format=torch.channels_last)).float()
        totals[0] += F.cross_entropy(scores, batch.targets, reduction="sum")
        totals[1] += (scores.argmax(1) == batch.targets).sum()
        totals[2] += len(scores)
    loss, correct, count = engine.sum(totals).tolist()
    return Score(accuracy=correct / max(count, 1), loss=loss / max(count, 1), count=round(count))
