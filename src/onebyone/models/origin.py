"""What a network was built from, as checkpoints tell it, and building it again.

A checkpoint may come from anywhere, so it names nothing but what is known here: a configuration of
the zoo, or a network of a package. A function in a user's file, or an ONNX file, it names for
people to read: only they may have it run, or know where it is.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from onebyone.errors import OneByOneError, WeightsError, summary
from onebyone.models.card import ModelCard
from onebyone.models.external import from_package
from onebyone.models.families import CONFIGS, FAMILIES, build_network
from onebyone.models.network import Network, NetworkConfig
from onebyone.models.reference import FileFactory, OnnxFile, PackageName, read_reference
from onebyone.typed import read_as

Origin = NetworkConfig | PackageName | FileFactory | OnnxFile
"""What a network was built from."""


def find_origin(network: nn.Module, card: ModelCard) -> Origin:
    """Return what a network was built from: by its configuration, or by its card's model.

    Raises:
        WeightsError: If neither says.
    """
    if isinstance(network, Network):
        return network.config
    reference = _reference_to(card.model)
    if reference is None:
        raise WeightsError(
            f"a card that says what the {type(network).__name__} was built from was wanted, with "
            "timm:NAME, torchvision:NAME, file.py:FUNCTION or net.onnx as its model, and "
            f"{card.model!r} came; pass the card that onebyone.load_model gave with the network"
        )
    return reference


def describe_origin(origin: Origin) -> dict[str, Any]:
    """Return an origin as plain JSON values, and the first format of checkpoints that has it."""
    match origin:
        case PackageName(package, name):
            return {"format": 2, "network": f"{package}:{name}"}
        case FileFactory(path, factory):
            return {"format": 2, "network": f"{path}:{factory}"}
        case OnnxFile() as file:
            return {"format": 3, "network": str(file)}
        case config:
            return {"format": 1, "family": FAMILIES[type(config)].family, "config": asdict(config)}


def read_origin(description: Mapping[str, Any]) -> Origin:
    """Return the origin that `describe_origin` told of.

    Raises:
        ValueError, KeyError, TypeError: If the description is damaged.
    """
    if "network" not in description:
        config = CONFIGS[description["family"]]
        return read_as(config, description["config"])
    reference = _reference_to(description["network"])
    if reference is None:
        raise ValueError(f"its network is {description['network']!r}")
    return reference


def build_origin(origin: Origin) -> nn.Module:
    """Build a network again, in evaluation mode; one of the zoo without memory for its tensors.

    Raises:
        WeightsError: If no network can be built so, or a user's file would be needed for it.
        OneByOneError: As `onebyone.models.external.from_package`.
    """
    match origin:
        case PackageName(package, name):
            # Not on the meta device: what a package computes at the start may be in no checkpoint.
            return from_package(package, name, pretrained=False)[0].eval()
        case FileFactory(path, factory):
            raise WeightsError(
                f"this network comes from a function in a Python file ({f'{path}:{factory}'!r}), "
                "which a file of weights cannot have run; name it, and pass the file as its "
                "weights: onebyone.load_model('FILE.py:FUNCTION', weights=...), or "
                "`onebyone predict FILE.py:FUNCTION --weights ...`"
            )
        case OnnxFile() as file:
            raise WeightsError(
                f"this network comes from an ONNX file ({str(file)!r}), which is not in here; name "
                "it, and pass the file as its weights: onebyone.load_model('net.onnx', "
                "weights=...), or `onebyone predict net.onnx --weights ...`"
            )
        case config:
            return _build_config(config)


def _reference_to(model: str) -> PackageName | FileFactory | OnnxFile | None:
    try:
        reference = read_reference(model)
    except OneByOneError:
        return None
    return reference if isinstance(reference, PackageName | FileFactory | OnnxFile) else None


def _build_config(config: NetworkConfig) -> Network:
    with torch.device("meta"):
        try:
            return build_network(config)
        except Exception as error:  # widths below zero, blocks that do not fit, and their like
            raise WeightsError(
                f"no network can be built as described ({summary(error)}); "
                "write the checkpoint again"
            ) from error
