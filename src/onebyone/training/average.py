"""A running average of a network's weights, which often predicts better than the last weights."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follow a network's weights at a distance, as an exponential moving average (EMA).

    Batch norms' statistics are averaged too, since they belong to the weights; counters are copied.

    Args:
        network: What to follow; it is copied.
        decay: Share of the old average in the new one, once there are enough steps behind it.

    Attributes:
        network: A network with the averages as its weights, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Take in the weights behind step `step`, 0 being the first one."""
        ours, theirs = _floating(self.network), _floating(network)
        for average, new in zip(ours, theirs, strict=True):
            average.lerp_(new, 1 - decay_at(self._decay, step))
        for counter, new in zip(_counting(self.network), _counting(network), strict=True):
            counter.copy_(new)


def decay_at(decay: float, step: int) -> float:
    """Return the decay of step `step`: less at first, so that the random start is soon forgotten.

    Example:
        >>> decay_at(0.99, 0), decay_at(0.99, 10_000)
        (0.1, 0.99)
    """
    return min(decay, (1 + step) / (10 + step))


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _floating(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in _tensors(network) if tensor.is_floating_point()]


def _counting(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in _tensors(network) if not tensor.is_floating_point()]
