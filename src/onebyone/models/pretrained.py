"""From what a user calls weights to a file, and to what travels with it."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onebyone.errors import UnknownNameError, WeightsError, located
from onebyone.files import check_file
from onebyone.models.card import ModelCard
from onebyone.models.checkpoint import is_checkpoint, read_checkpoint
from onebyone.models.imagenet import names_at_hand
from onebyone.models.network import NetworkConfig
from onebyone.models.reference import is_weight_file
from onebyone.models.registry import KNOWN_FILES, ModelSpec
from onebyone.models.sources import HubFile, check_sha256
from onebyone.models.timm_config import classes_from_timm, preprocess_from_timm


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights that were found, with what they need and what they bring along.

    Attributes:
        path: The file that they are in.
        config: What the network must be built from.
        card: How to use the network with them.
    """

    path: Path
    config: NetworkConfig
    card: ModelCard


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_pretrained(spec: ModelSpec, weights: str | Path) -> Pretrained:
    """Find the weights that a user names for a network of the zoo.

    Args:
        spec: The network.
        weights: "imagenet" for its default weights, a file, or a hub repository ("owner/name").

    Raises:
        UnknownNameError: If it is none of these, or the network has no default weights.
        MissingPackageError: If the weights come in a package that is not installed.
        WeightsError: If they cannot be had, are damaged, or are of another architecture.
    """
    text = str(weights)
    if text == "imagenet":
        return _default(spec)
    if is_weight_file(text) or os.path.exists(text):  # noqa: PTH110  (False for any odd text)
        return _from_file(spec, Path(text))
    if _HUB_ID.fullmatch(text):
        return _from_hub(spec, text)
    raise UnknownNameError(
        f"no weights {text!r}; 'imagenet', a file (.safetensors, .pth) or a hub repository "
        "(owner/name) was wanted"
    )


def _default(spec: ModelSpec) -> Pretrained:
    if spec.weights is None:
        raise UnknownNameError(
            f"no ImageNet weights are known for {spec.name!r}; pass a file of weights"
        )
    path = spec.weights.source.fetch()
    card = ModelCard(
        model=spec.name,
        preprocess=spec.weights.preprocess,
        classes=names_at_hand(),
        weights=spec.weights.source.address,
        license=spec.weights.license,
    )
    return Pretrained(path, spec.config, card)


def _from_hub(spec: ModelSpec, repo_id: str) -> Pretrained:
    # The small file first: weights that cannot fit are refused before they are downloaded.
    description = _read_json(HubFile(repo_id, "config.json").fetch())
    with located(f"hub repository {repo_id!r}"):
        config, card = _described(spec, description)
    card = replace(card, weights=repo_id)
    return Pretrained(HubFile(repo_id).fetch(), config, card)


def _from_file(spec: ModelSpec, path: Path) -> Pretrained:
    """Recognise a file by its content, its name, or the config.json beside it, in this order.

    A file that is none of these is taken for weights with the conventions of the zoo's row.
    """
    check_file(path, "a file of weights", WeightsError)
    if is_checkpoint(path):
        return _from_checkpoint(spec, path)
    config, card = spec.config, ModelCard(model=spec.name, preprocess=spec.preprocess)
    if known := KNOWN_FILES.get(path.name):
        check_sha256(path, known.sha256)
        config = spec.architectures.get(known.architecture, config)
        card = replace(card, preprocess=known.preprocess, license=known.license)
    elif path.name == "model.safetensors" and path.with_name("config.json").is_file():
        with located(str(path)):
            config, card = _described(spec, _read_json(path.with_name("config.json")))
    card = replace(card, weights=str(path), classes=card.classes or names_at_hand())
    return Pretrained(path, config, card)


def _from_checkpoint(spec: ModelSpec, path: Path) -> Pretrained:
    checkpoint = read_checkpoint(path)
    config = checkpoint.origin
    if not isinstance(config, NetworkConfig) or not _is_of(spec, config) or checkpoint.card.steps:
        raise WeightsError(
            f"{path} holds a network that is not {spec.name} as the zoo has it; load the file as "
            f"the model itself: onebyone.load({str(path)!r}), or `onebyone predict {path} ...`"
        )
    card = replace(checkpoint.card, model=spec.name, weights=str(path))
    return Pretrained(path, config, card)


def _is_of(spec: ModelSpec, config: NetworkConfig) -> bool:
    """Say whether a configuration is a row of the zoo, for any number of classes."""
    alike = replace(config, num_classes=spec.config.num_classes)
    return alike in (spec.config, *spec.architectures.values())


def _described(spec: ModelSpec, description: Mapping[str, Any]) -> tuple[NetworkConfig, ModelCard]:
    """Return the configuration and the card that a timm config.json stands for."""
    architecture = str(description.get("architecture"))
    if architecture not in spec.architectures:
        wanted = " or ".join(map(repr, spec.architectures)) or "none that the hub has"
        raise WeightsError(
            f"{wanted} was wanted as the architecture for {spec.name}, and {architecture!r} came; "
            "pass other weights"
        )
    nested = description.get("pretrained_cfg")
    pretrained = {**description, **(nested if isinstance(nested, dict) else {})}
    card = ModelCard(
        model=spec.name,
        preprocess=preprocess_from_timm(pretrained),
        classes=classes_from_timm(pretrained),
        license=pretrained.get("license"),
    )
    return spec.architectures[architecture], card


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise WeightsError(f"{path} is damaged: it is no JSON ({error})") from error
    return content if isinstance(content, dict) else {}
