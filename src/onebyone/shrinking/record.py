"""What was done to a network, written on its card, so that a checkpoint can do it again."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from onebyone.models.network import Network
from onebyone.models.steps import edits_step
from onebyone.nn.edits import Edit


def record_edits(small: nn.Module, edits: Sequence[Edit]) -> None:
    """Write down what was done to a network, in place; networks that have no card keep none."""
    if isinstance(small, Network):
        small.card = replace(small.card, steps=(*small.card.steps, edits_step(edits)))
