"""How far a network does what another one does."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

BATCH_NUMBERS = 2**23
"""Numbers of the images that run at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a network does what the original does, on images that it was not decided on.

    Attributes:
        top1: Share of the images of which both name the same class.
        divergence: Mean Kullback-Leibler divergence of its answers from the original's, in nats.
        images: How many images there were.
        accuracy: Shares of right answers of the original and of the network, where there are
            labels; else None.
    """

    top1: float
    divergence: float
    images: int
    accuracy: tuple[float, float] | None = None


@torch.inference_mode()
def measure_agreement(
    original: nn.Module, small: nn.Module, images: Tensor, labels: Tensor | None = None
) -> Agreement:
    """Measure how far a network does what the original does.

    Args:
        original: In evaluation; it gives scores `(N, classes)`.
        small: Likewise.
        images: `(N, C, H, W)`.
        labels: The classes' numbers, `(N,)`.
    """
    same = divergence = 0.0
    right = [0, 0]
    size = max(1, BATCH_NUMBERS // images[0].numel())
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        scores = [tree_leaves(network(batch))[0].double() for network in (original, small)]
        answers = [one.argmax(1) for one in scores]
        same += float((answers[0] == answers[1]).sum())
        logs = [F.log_softmax(one, 1) for one in scores]
        divergence += float(F.kl_div(logs[1], logs[0], reduction="sum", log_target=True))
        if labels is not None:
            for which, answer in enumerate(answers):
                right[which] += int((answer == labels[start : start + size]).sum())
    count = len(images)
    return Agreement(
        top1=same / count,
        divergence=divergence / count,
        images=count,
        accuracy=(right[0] / count, right[1] / count) if labels is not None else None,
    )
