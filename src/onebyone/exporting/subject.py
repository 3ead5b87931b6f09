"""What is exported: a network and its card, and images like those that it reads."""

import copy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from onebyone.errors import ShapeError
from onebyone.models.card import ModelCard, card_of
from onebyone.models.reference import default_weights
from onebyone.models.resolve import load_model

TRIED = 2
"""Images that a file is tried on that takes any number; torch would take one as meant."""


def read_network(
    model: nn.Module | str | Path, weights: str | Path | None
) -> tuple[nn.Module, ModelCard | None]:
    """Return a network, or a copy of the one that is given, and its card."""
    if isinstance(model, nn.Module):
        return copy.deepcopy(model).eval(), card_of(model)  # the user's stays as it was
    network, card = load_model(model, weights=weights or default_weights(str(model)))
    return network, card


def example_images(
    network: nn.Module,
    card: ModelCard | None,
    example: Tensor | None,
    batch: int | Literal["any"],
) -> Tensor:
    """Return images like those that the network will read, of random numbers."""
    if batch != "any" and batch < 1:
        raise ShapeError(f"`batch` (={batch}) must be 1 or more, or 'any'")
    if example is not None:
        shape, dtype = tuple(example.shape[1:]), example.dtype
    elif card is not None:
        side = card.preprocess.input_size
        shape, dtype = (card.preprocess.channels, side, side), torch.float32
    else:
        raise ShapeError(
            f"nobody says what {type(network).__name__} reads; give an example: "
            "onebyone.export(network, file, example=torch.randn(1, 3, 224, 224))"
        )
    count = TRIED if batch == "any" else batch
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator).to(dtype)
