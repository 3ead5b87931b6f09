"""Our own checkpoint: one `.safetensors` file from which a network is rebuilt exactly.

Beside the tensors it holds, as JSON in the file's metadata, what the network was built from, how to
use it, and what was done to it since. It holds no code, so that loading one runs none.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from onebyone.errors import WeightsError, located, summary
from onebyone.files import replacing
from onebyone.models.card import ModelCard
from onebyone.models.families import CONFIGS, build_network
from onebyone.models.naming import describe_misfits, load_tensors
from onebyone.models.network import Network, NetworkConfig
from onebyone.models.reference import SUFFIX
from onebyone.models.steps import repeat_steps
from onebyone.models.weight_files import read_metadata, read_safetensors

FORMAT = 1
"""Raised by one whenever an older reader would misunderstand the metadata."""

_KEY = "onebyone"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        config: What the network was built from.
        card: How to use it, and what was done to it since.
        tensors: Its parameters and buffers, by name.
    """

    config: NetworkConfig
    card: ModelCard
    tensors: dict[str, Tensor]


def save(network: nn.Module, path: str | Path) -> None:
    """Write a network of the zoo to one `.safetensors` file, which `load` rebuilds it from.

    Side effects:
        Replaces what was at `path`, in one step: nobody ever sees half a file.

    Raises:
        WeightsError: If the network is not of the zoo or was changed by hand, the name does not end
            in ".safetensors", or the file cannot be written.
    """
    path = Path(path)
    if not isinstance(network, Network):
        raise WeightsError(
            f"a network of the zoo was wanted, and a {type(network).__name__} came; "
            "save its state dict with safetensors.torch.save_file(model.state_dict(), path)"
        )
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: a name that ends in {SUFFIX} was wanted")
    description = {
        "format": FORMAT,
        "family": network.family,
        "config": asdict(network.config),
        "card": asdict(network.card),
    }
    metadata = {"format": "pt", _KEY: json.dumps(description)}
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    rebuilt = _rebuild(network.config, network.card).state_dict()
    if misfits := describe_misfits(tensors, rebuilt):
        raise WeightsError(
            "the network was changed since it was built, and could not be rebuilt from a file: "
            f"tensors {misfits}; build it as it should be, such as with num_classes=..., or record "
            "the change as a step of its card"
        )
    from safetensors.torch import save_file

    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except OSError as error:
        raise WeightsError(f"cannot write {path} ({error.strerror})") from error


def load(path: str | Path) -> Network:
    """Rebuild the network that `save` wrote, in evaluation mode.

    Raises:
        WeightsError: If the file is missing, damaged, no checkpoint of ours, or too new.
        UnknownNameError: If a step was done to it that this version cannot do again.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    with located(str(path)):
        network = _rebuild(checkpoint.config, checkpoint.card)
        load_tensors(network, checkpoint.tensors)
    network.card = checkpoint.card
    return network.eval()


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
    config, card = _parse(metadata[_KEY], path)
    return Checkpoint(config, card, tensors)


def _parse(description: str, path: Path) -> tuple[NetworkConfig, ModelCard]:
    from pydantic import TypeAdapter, ValidationError

    try:
        content = json.loads(description)
        if content["format"] > FORMAT:
            raise WeightsError(
                f"{path} is of format {content['format']}, and this version of onebyone reads up "
                f"to {FORMAT}; install a newer one: pip install --upgrade onebyone"
            )
        config = TypeAdapter(CONFIGS[content["family"]]).validate_python(content["config"])
        card = TypeAdapter(ModelCard).validate_python(content["card"])
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, summary(error)) from error
    return config, card


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path}: the description of its network is damaged ({reason}); write the checkpoint again"
    )


def _rebuild(config: NetworkConfig, card: ModelCard) -> Network:
    """Build a network, without memory for its tensors."""
    with torch.device("meta"):
        try:
            network = build_network(config).eval()
        except Exception as error:  # widths below zero, blocks that do not fit, and their like
            raise WeightsError(
                f"no network can be built as described ({summary(error)}); "
                "write the checkpoint again"
            ) from error
        repeat_steps(network, card.steps)
    return network
