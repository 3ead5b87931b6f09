"""What was done to a network, written on its card, so that a checkpoint can do it again."""

from collections.abc import Sequence

from torch import nn

from onebyone.models.card import card_of, give_card
from onebyone.models.steps import with_edits
from onebyone.nn.edits import Edit


def record_edits(small: nn.Module, edits: Sequence[Edit]) -> None:
    """Write down what was done to a network, in place, if it carries a card.

    For one that does not, whoever has its card saves it with `with_edits(card, edits)`.
    """
    if card := card_of(small):
        give_card(small, with_edits(card, edits))
