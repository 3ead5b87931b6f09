"""From what a user calls a model to a network that gives a score for each class of the data."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from onebyone.models import create_model, find_model, load_model
from onebyone.models.adapt import adapt_config
from onebyone.models.checkpoint import read_checkpoint
from onebyone.models.families import build_network
from onebyone.models.preprocess import Preprocess
from onebyone.models.pretrained import find_pretrained
from onebyone.models.reference import CheckpointFile, PackageName, ZooName, read_reference
from onebyone.training.data.data import Data


def fit_network(
    model: str | Path, data: Data, *, weights: str | Path | None = None, seed: int = 0
) -> nn.Module:
    """Build the network that a user names, for the data's channels, classes and pixels.

    Args:
        model: As for `onebyone.load_model`. A checkpoint, an ONNX file, or what a file's function
            returns, is taken as it is.
        data: What it will be trained on.
        weights: Where to start from; None for a random start, or what a checkpoint has.
        seed: What a random start depends on.

    Raises:
        OneByOneError: One of its kinds; see `load_model` and `adapt_config`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match read_reference(str(model)):
            case ZooName(name) if weights is None:
                channels, height, _ = data.image_shape
                config = adapt_config(
                    find_model(name).config,
                    in_channels=channels,
                    num_classes=len(data.classes),
                    image_size=height,
                )
                network = build_network(config)
                network.card = replace(network.card, model=name)
                return network
            case ZooName(name):
                return create_model(name, weights=weights, num_classes=len(data.classes))
            case PackageName("timm", name):
                return _from_timm(name, data, is_pretrained=weights == "imagenet")
            case _:
                return load_model(model, weights=weights).network


def preprocess_for(model: str | Path, *, weights: str | Path | None = None) -> Preprocess:
    """Return how the network that a user names is to see photos: what its weights are used to.

    Args:
        model: As for `fit_network`.
        weights: Likewise.

    Raises:
        OneByOneError: One of its kinds; see `load_model`.
    """
    match read_reference(str(model)):
        case ZooName(name):
            spec = find_model(name)
            return find_pretrained(spec, weights).card.preprocess if weights else spec.preprocess
        case CheckpointFile(path):
            return read_checkpoint(path).card.preprocess
        case _:
            return load_model(model).card.preprocess


def _from_timm(name: str, data: Data, *, is_pretrained: bool) -> nn.Module:
    network, card = load_model(f"timm:{name}", weights="imagenet" if is_pretrained else None)
    from timm import create_model as create_theirs

    network = create_theirs(
        name,
        pretrained=is_pretrained,
        num_classes=len(data.classes),
        in_chans=data.image_shape[0],
    )
    setattr(network, "card", card)  # noqa: B010  (a type checker takes it for a layer)
    return network
