"""Our own checkpoint: one `.safetensors` file from which a network is rebuilt exactly.

Beside the tensors it holds, as JSON in the file's metadata, what the network was built from, how to
use it, and what was done to it since. It holds no code, and none that the user did not name is run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from onebyone.errors import WeightsError, located, summary
from onebyone.files import replacing
from onebyone.models.card import ModelCard, card_of, give_card
from onebyone.models.naming import describe_misfits, load_tensors
from onebyone.models.origin import Origin, build_origin, describe_origin, find_origin, read_origin
from onebyone.models.reference import SUFFIX, FileFactory, OnnxFile
from onebyone.models.steps import repeat_steps
from onebyone.models.weight_files import read_metadata, read_safetensors
from onebyone.typed import MisfitError, read_as

FORMAT = 3
"""Raised by one whenever an older reader would misunderstand the metadata.

A file has the first format that can tell what is in it, so that older readers read what they can:
2 came with networks that are not of the zoo, 3 with ONNX files.
"""

_KEY = "onebyone"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        origin: What the network was built from.
        card: How to use it, and what was done to it since.
        tensors: Its parameters and buffers, by name.
    """

    origin: Origin
    card: ModelCard
    tensors: dict[str, Tensor]


def save(network: nn.Module, path: str | Path, *, card: ModelCard | None = None) -> None:
    """Write a network to one `.safetensors` file, which `load` rebuilds it from.

    It may be of the zoo, of timm or of torchvision. What a function in a user's file returned, or
    an ONNX file became, is written too, and read again where that is named:
    `load_model("file.py:make", weights=path)`.

    Args:
        network: As it was built, but for the steps on its card.
        path: A name that ends in ".safetensors".
        card: How to use it, as `load_model` gave it; None for the card that the network carries.

    Side effects:
        Replaces what was at `path`, in one step: nobody ever sees half a file.

    Raises:
        WeightsError: If nothing says what the network was built from, it was changed by hand, the
            name does not end in ".safetensors", or the file cannot be written.
    """
    path = Path(path)
    card = card or card_of(network)
    if card is None:
        raise WeightsError(
            f"a network of the zoo, or the card that onebyone.load_model gave with another, was "
            f"wanted, and a {type(network).__name__} came; save(network, path, card=card), or save "
            "its state dict with safetensors.torch.save_file(model.state_dict(), path)"
        )
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: a name that ends in {SUFFIX} was wanted")
    origin = find_origin(network, card)
    metadata = {
        "format": "pt",
        _KEY: json.dumps({**describe_origin(origin), "card": asdict(card)}),
    }
    # Each on its own: safetensors takes no two that share their memory.
    tensors = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    if not isinstance(origin, FileFactory | OnnxFile):  # a user's file is read where they name it
        _check_rebuilt(tensors, _rebuild(origin, card))
    from safetensors.torch import save_file

    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except OSError as error:
        raise WeightsError(f"cannot write {path} ({error.strerror})") from error


def load(path: str | Path) -> nn.Module:
    """Rebuild the network that `save` wrote, in evaluation mode; it carries its `card`.

    Raises:
        WeightsError: If the file is missing, damaged, no checkpoint of ours, or too new, or if the
            network comes from a function in a user's file, or from an ONNX file.
        UnknownNameError: If a step was done to it that this version cannot do again, or its package
            has no such network any more.
        MissingPackageError: If it is of a package that is not installed.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    with located(str(path)):
        network = _rebuild(checkpoint.origin, checkpoint.card)
        load_tensors(network, checkpoint.tensors)
    give_card(network, checkpoint.card)
    return network.eval()


def load_onto(network: nn.Module, card: ModelCard, path: Path) -> ModelCard:
    """Do to a network what was done to the one that `save` wrote, and give it the tensors.

    This is how a file goes with a network that is built by what the user names.

    Args:
        network: Changed in place.
        card: As it came with the network; its steps were done to it already.
        path: The file.

    Returns:
        The file's card, for the model that the user named; the network carries it.

    Raises:
        WeightsError: As `load`, or if the network is not the one that was saved.
    """
    checkpoint = read_checkpoint(path)
    steps, done = checkpoint.card.steps, len(card.steps)
    with located(str(path)):
        if steps[:done] != card.steps:
            raise WeightsError(
                f"{card.model} was changed in another way than the network in this file; name the "
                "one that the file was made from"
            )
        repeat_steps(network.eval(), steps[done:])
        load_tensors(network, checkpoint.tensors)
    card = replace(checkpoint.card, model=card.model, weights=str(path))
    give_card(network, card)
    return card


def is_checkpoint(path: Path) -> bool:
    """Say whether a file is one that `save` wrote.

    Raises:
        WeightsError: If it is a damaged `.safetensors` file.
    """
    return path.suffix == SUFFIX and _KEY in read_metadata(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without building its network.

    Raises:
        WeightsError: As `load`.
    """
    tensors, metadata = read_safetensors(path)
    if _KEY not in metadata:
        raise WeightsError(
            f"{path} holds tensors only, and does not say of which network; name the network and "
            f"pass the file as its weights: create_model(NAME, weights={str(path)!r}), or "
            f"`onebyone predict NAME --weights {path} ...`"
        )
    origin, card = _parse(metadata[_KEY], path)
    return Checkpoint(origin, card, tensors)


def _parse(description: str, path: Path) -> tuple[Origin, ModelCard]:
    try:
        content = json.loads(description)
        if content["format"] > FORMAT:
            raise WeightsError(
                f"{path} is of format {content['format']}, and this version of onebyone reads up "
                f"to {FORMAT}; install a newer one: pip install --upgrade onebyone"
            )
        origin = read_origin(content)
        card = read_as(ModelCard, content["card"])
    except MisfitError as error:
        raise _damaged(path, str(error)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, summary(error)) from error
    return origin, card


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path}: the description of its network is damaged ({reason}); write the checkpoint again"
    )


def _rebuild(origin: Origin, card: ModelCard) -> nn.Module:
    """Build a network anew, and do again what was done to it; its numbers mean nothing yet."""
    with torch.random.fork_rng(devices=[]):  # the user's own draws stay as they were
        network = build_origin(origin)
        repeat_steps(network, card.steps)
    return network


def _check_rebuilt(tensors: Mapping[str, Tensor], rebuilt: nn.Module) -> None:
    if misfits := describe_misfits(tensors, rebuilt.state_dict()):
        raise WeightsError(
            "the network was changed since it was built, and could not be rebuilt from a file: "
            f"tensors {misfits}; build it as it should be, such as with num_classes=..., or record "
            "the change as a step of its card"
        )
