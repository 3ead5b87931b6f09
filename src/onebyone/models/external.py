"""Networks that other packages, or a user's own file, define."""

import importlib.util
import inspect
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from onebyone.errors import (
    MissingPackageError,
    ModelError,
    OneByOneError,
    UnknownNameError,
    did_you_mean,
    located_summary,
    summary,
)
from onebyone.files import check_file
from onebyone.models.card import ModelCard, card_of
from onebyone.models.preprocess import Preprocess
from onebyone.models.sources import HubFile, ask_hub
from onebyone.models.timm_config import classes_from_timm, preprocess_from_timm


def from_package(package: str, name: str, *, pretrained: bool) -> tuple[nn.Module, ModelCard]:
    """Build a network of timm's or torchvision's; more as `from_timm` and `from_torchvision`.

    Args:
        package: One of `onebyone.models.reference.PACKAGES`.
        name: What the package calls it.
        pretrained: Whether it gets the package's weights; else it starts at random.
    """
    build = {"timm": from_timm, "torchvision": from_torchvision}[package]
    return build(name, pretrained=pretrained)


def from_timm(name: str, *, pretrained: bool) -> tuple[nn.Module, ModelCard]:
    """Build a network of timm's.

    Args:
        name: What timm calls it, such as "dla34" or "resnet50.tv2_in1k".
        pretrained: Whether timm loads its weights from the hub; else it starts at random.

    Raises:
        MissingPackageError: If timm is not installed, or does not import.
        UnknownNameError: If timm has no network of that name.
        ModelError: If timm cannot build it, or cannot get its weights.
        WeightsError: If its photos are prepared in a way that we do not have.
    """
    timm = _import("timm")
    _check_name(name.partition(".")[0], timm.list_models(), "timm")
    if pretrained:
        _check_hub_for(timm.get_pretrained_cfg(name))
    with _one_line_for(f"timm:{name}"):
        network = timm.create_model(name, pretrained=pretrained)
    return network, _card_from_timm(network.pretrained_cfg, f"timm:{name}", pretrained=pretrained)


def from_torchvision(name: str, *, pretrained: bool) -> tuple[nn.Module, ModelCard]:
    """Build a classifier of torchvision's; arguments and errors as `from_timm`."""
    models = _import("torchvision").models
    _check_name(name, models.list_models(module=models), "torchvision")
    with _one_line_for(f"torchvision:{name}"):
        weights = models.get_model_weights(name).DEFAULT
        network = models.get_model(name, weights=weights if pretrained else None)
    if hasattr(network, "transform_input"):
        # The two Inceptions renormalise their input; torchvision leaves that out without weights,
        # and its preprocessing, which goes on the card, counts on it.
        network.transform_input = True
    transforms = weights.transforms()
    preprocess = Preprocess(
        input_size=transforms.crop_size[0],
        resize_size=transforms.resize_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )
    card = ModelCard(model=f"torchvision:{name}", preprocess=preprocess)
    if pretrained:
        card = replace(card, classes=tuple(weights.meta["categories"]), weights=weights.url)
    return network, card


def from_file(path: Path, factory: str) -> tuple[nn.Module, ModelCard]:
    """Build the network that a function in a user's Python file returns.

    The card is the network's own `card`, or what its `pretrained_cfg` (timm's) says; failing both,
    photos are prepared in ImageNet's usual way, at 224 pixels.

    Side effects:
        Runs the file. While it runs, its folder is searched for imports first.

    Raises:
        ModelError: If there is no such file, it fails, or its function returns no network.
        UnknownNameError: If the file has nothing of that name.
    """
    check_file(path, "a Python file", ModelError)
    with _searched_first(path.parent), _located_in_file():
        spec = importlib.util.spec_from_file_location(f"onebyone_file_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickling look a class's module up there
        spec.loader.exec_module(module)
        make = getattr(module, factory, None)
        if make is None:
            raise UnknownNameError(
                f"nothing named {factory!r} in {path}{did_you_mean(factory, vars(module))}"
            )
        _check_factory(make, path, factory)
        network = make()
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{path}:{factory} was to return a torch.nn.Module, and returned a "
            f"{type(network).__name__}"
        )
    return network, _card_of(network, f"{path}:{factory}")


def _check_factory(make: Any, path: Path, factory: str) -> None:
    """Check that what a user names in a file can be called without arguments, and is no network."""
    if isinstance(make, nn.Module):
        raise ModelError(
            f"{path}:{factory} is a network, and a function that returns one was wanted: write "
            f"`def make(): return {factory}`, and name {path}:make"
        )
    if not callable(make):
        raise ModelError(
            f"{path}:{factory} is a {type(make).__name__}, and a function that returns the network "
            "was wanted"
        )
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # some functions that are written in C do not tell
        return
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise ModelError(
            f"{path}:{factory} needs arguments ({', '.join(needed)}), and a function without was "
            f"wanted: write `def make(): return {factory}(...)`, and name {path}:make"
        )


def _card_of(network: nn.Module, name: str) -> ModelCard:
    if card := card_of(network):
        return replace(card, model=name)
    if isinstance(config := getattr(network, "pretrained_cfg", None), dict):
        return _card_from_timm(config, name, pretrained=False)
    return ModelCard(model=name)


def _card_from_timm(config: dict[str, Any], name: str, *, pretrained: bool) -> ModelCard:
    card = ModelCard(model=name, preprocess=preprocess_from_timm(config))
    if not pretrained:
        return card
    return replace(
        card,
        classes=classes_from_timm(config),
        weights=config.get("hf_hub_id"),
        license=config.get("license"),
    )


def _check_hub_for(config: Any) -> None:
    """Check that the hub answers if timm will ask it for weights that are not at hand."""
    repo_id = getattr(config, "hf_hub_id", None)
    if not repo_id:
        return
    if not any(
        HubFile(repo_id, name).find() for name in ("model.safetensors", "pytorch_model.bin")
    ):
        ask_hub(f"the weights in the hub repository {repo_id!r}")


def _import(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise MissingPackageError(
                f"{package} needs {error.name}, which is not installed: pip install {error.name}"
            ) from error
        raise MissingPackageError(
            f"models named {package}:... need {package}, which is not installed: "
            f"pip install {package}"
        ) from error
    except Exception as error:  # a torchvision that was built for another torch, for one
        raise MissingPackageError(
            f"{package} is installed and does not import ({summary(error)}); install releases "
            "of it, and of what it needs, that were built for your torch"
        ) from error


def _check_name(name: str, known: Iterable[str], package: str) -> None:
    known = list(known)
    if name not in known:
        raise UnknownNameError(f"{package} has no model {name!r}{did_you_mean(name, known)}")


@contextmanager
def _one_line_for(name: str) -> Generator[None]:
    """Turn whatever a package raises into one line that names what was asked of it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name} failed with {summary(error)}") from error


@contextmanager
def _located_in_file() -> Generator[None]:
    """Turn whatever a user's file raises into one line that names the line of the file."""
    try:
        yield
    except OneByOneError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(located_summary(error)) from error


@contextmanager
def _searched_first(folder: Path) -> Generator[None]:
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
