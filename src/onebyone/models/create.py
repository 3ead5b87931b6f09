"""Building a network of the zoo, with or without published weights."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from onebyone.errors import ShapeError, located
from onebyone.models.card import ModelCard
from onebyone.models.families import build_network
from onebyone.models.naming import load_tensors, translate_names
from onebyone.models.network import Network
from onebyone.models.pretrained import find_pretrained
from onebyone.models.registry import ModelSpec, find_model
from onebyone.models.weight_files import read_tensors
from onebyone.nn import initialize_weights


def create_model(
    name: str, *, weights: str | Path | None = None, num_classes: int | None = None
) -> Network:
    """Build a network of the zoo, in evaluation mode.

    Args:
        name: One of `onebyone models`.
        weights: None for a random start; "imagenet" for the network's default weights; a local
            file (`.safetensors`, or `.pth` as torch saves it) with the tensor names of torchvision,
            timm or lukemelas; or a repository of the Hugging Face hub, "timm/resnet50.tv2_in1k".
            Nothing in a file is run. The network takes on the conventions that the weights were
            trained with (padding, epsilon), and its `card` their preprocessing and class names.
        num_classes: Scores that come out; None for as many as the weights have, or, without
            weights, the network's own number (1000; 10 for nin_cifar10). If the weights have
            another number, the last layer starts at random: the usual start of transfer learning.

    Raises:
        UnknownNameError: If there is no such model, or no such weights.
        MissingPackageError: If the weights come in a package that is not installed.
        WeightsError: If the weights cannot be had, are damaged, or do not fit.
        ShapeError: If `num_classes` is less than 1.

    Example:
        >>> network = create_model("efficientnet_lite0", weights="imagenet")
        >>> network.card.classes[282], network.card.preprocess.input_size
        ('tiger cat', 224)
    """
    spec = find_model(name)
    if num_classes is not None and num_classes < 1:
        raise ShapeError(f"`num_classes` (={num_classes}) must be at least 1")
    if weights is None:
        return _create_random(spec, num_classes or spec.config.num_classes)
    return _create_pretrained(spec, weights, num_classes)


def _create_random(spec: ModelSpec, num_classes: int) -> Network:
    network = build_network(replace(spec.config, num_classes=num_classes))
    network.card = ModelCard(model=spec.name, preprocess=spec.preprocess)
    return network


def _create_pretrained(spec: ModelSpec, weights: str | Path, num_classes: int | None) -> Network:
    found = find_pretrained(spec, weights)
    tensors = read_tensors(found.path)
    with located(str(found.path)):
        # A network on the meta device has names and shapes, and takes neither time nor memory.
        with torch.device("meta"):
            network = build_network(found.config)
        tensors = translate_names(tensors, network)
        classes_at_hand = _count_classes(tensors, network)
        config = replace(found.config, num_classes=num_classes or classes_at_hand)
        with torch.device("meta"):
            network = build_network(config)
        if config.num_classes != classes_at_hand:
            tensors |= _random_head(network)
        load_tensors(network, tensors)
    has_names = config.num_classes == classes_at_hand == len(found.card.classes)
    network.card = found.card if has_names else replace(found.card, classes=())
    return network.float()


def _count_classes(tensors: dict[str, Tensor], network: Network) -> int:
    head = tensors.get(f"{network.head_name}.weight")
    return head.shape[0] if head is not None and head.ndim else network.config.num_classes


def _random_head(network: Network) -> dict[str, Tensor]:
    head = network.get_submodule(network.head_name).to_empty(device="cpu")
    initialize_weights(head)
    return {f"{network.head_name}.{name}": value for name, value in head.state_dict().items()}
