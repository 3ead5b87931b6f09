"""From what a user calls a model to a network."""

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from torch import nn

from onebyone.errors import UnknownNameError, WeightsError, located
from onebyone.files import check_file
from onebyone.models.card import ModelCard, card_of, give_card
from onebyone.models.checkpoint import is_checkpoint, load, load_onto
from onebyone.models.create import create_model
from onebyone.models.external import from_file, from_package
from onebyone.models.naming import load_tensors
from onebyone.models.onnx_files import check_photos, load_onnx
from onebyone.models.reference import (
    CheckpointFile,
    FileFactory,
    OnnxFile,
    PackageName,
    ZooName,
    is_weight_file,
    read_reference,
)
from onebyone.models.weight_files import read_tensors


class LoadedModel(NamedTuple):
    """A network in evaluation mode, and how to use it."""

    network: nn.Module
    card: ModelCard


def load_model(model: str | Path, *, weights: str | Path | None = None) -> LoadedModel:
    """Build the network that a user names, in float32 and in evaluation mode; it carries its card.

    Args:
        model: A name of the zoo; "timm:NAME" or "torchvision:NAME"; "path/to/file.py:factory",
            where the function returns a network; "net.onnx", or "net.onnx:480x640" where the file
            leaves height and width open; or a checkpoint that `save` wrote.
        weights: None for a random start, or for the weights that a checkpoint, an ONNX file or a
            file's function brings along; "imagenet" for the default weights of a named model; or a
            file of weights. If `save` wrote that, what was done to its network is done to this one,
            and its card is taken. More for the zoo: see `create_model`.

    Raises:
        OneByOneError: One of its kinds; see `create_model`, `load`, `from_onnx` and
            `models.external`.
    """
    network, card = _build(str(model), None if weights is None else str(weights))
    give_card(network, card)
    return LoadedModel(network.float().eval(), card)


def load_untrained(model: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """Build the network that a user names, and say of what shape its images are.

    Checkpoints and files bring weights of their own. Named networks start at random, and may be
    such as `load_model` knows no way to prepare photos for.

    Args:
        model: As for `load_model`.

    Raises:
        OneByOneError: One of its kinds; see `load_model`.
    """
    reference = read_reference(model)
    if isinstance(reference, OnnxFile):
        network, card, shape = load_onnx(reference.path, size=reference.size)
        give_card(network, card)
        return network, shape
    try:
        network, card = load_model(model)
    except WeightsError:
        if not model.startswith("timm:"):
            raise
        network = import_module("timm").create_model(model.partition(":")[2]).float().eval()
        channels, height, width = network.pretrained_cfg["input_size"]
        return network, (channels, height, width)
    size = card.preprocess.input_size
    return network, (card.preprocess.channels, size, size)


def _build(model: str, weights: str | None) -> LoadedModel:
    match read_reference(model):
        case ZooName(name):
            network = create_model(name, weights=weights)
            return LoadedModel(network, network.card)
        case PackageName(package, name):
            loaded = LoadedModel(*from_package(package, name, pretrained=weights == "imagenet"))
            return loaded if weights == "imagenet" else _with_weights(loaded, weights)
        case FileFactory(path, factory):
            return _with_weights(LoadedModel(*from_file(path, factory)), weights)
        case OnnxFile(path, size):
            network, card, image_shape = load_onnx(path, size=size)
            check_photos(path, image_shape)
            return _with_weights(LoadedModel(network, card), weights)
        case CheckpointFile(path):
            network = load(path)
            card = card_of(network)
            assert card is not None
            return _with_weights(LoadedModel(network, card), weights)


def _with_weights(loaded: LoadedModel, weights: str | None) -> LoadedModel:
    if weights is None:
        return loaded
    if not is_weight_file(weights) and not os.path.exists(weights):  # noqa: PTH110
        raise UnknownNameError(
            f"no weights {weights!r} for {loaded.card.model}; "
            "a file (.safetensors, .pth) was wanted"
        )
    check_file(Path(weights), "a file of weights", WeightsError)
    if is_checkpoint(Path(weights)):
        return loaded._replace(card=load_onto(*loaded, Path(weights)))
    tensors = read_tensors(Path(weights))
    with located(weights):
        load_tensors(loaded.network, tensors)
    return loaded._replace(card=replace(loaded.card, weights=weights, license=None))
