"""How to use a network: what travels with its weights."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from onebyone.models.preprocess import Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Say how to feed a network, how to read its scores, and where its weights come from.

    Attributes:
        model: The name that the network is called by, such as "resnet50" or "timm:dla34".
        preprocess: How a photo becomes the network's input.
        classes: A name for each score; empty if nobody has named them.
        weights: Where the weights come from; None for a random start.
        license: Licence of the weights, if known.
        steps: What was done to the network since it was built, oldest first: a JSON object each,
            whose "kind" says what (`onebyone.models.steps`). A checkpoint with a step of a kind
            that this version does not know is refused.
    """

    model: str
    preprocess: Preprocess = field(default_factory=Preprocess)
    classes: tuple[str, ...] = ()
    weights: str | None = None
    license: str | None = None
    steps: tuple[dict[str, Any], ...] = ()


def card_of(network: nn.Module) -> ModelCard | None:
    """Return the card that a network carries, as all do that `onebyone` loaded."""
    card = getattr(network, "card", None)
    return card if isinstance(card, ModelCard) else None


def give_card(network: nn.Module, card: ModelCard) -> None:
    """Let a network carry a card, in place, unless it has a `card` of another kind.

    Copies of the network carry it too.
    """
    if not hasattr(network, "card") or card_of(network):
        object.__setattr__(network, "card", card)  # a card is no layer
