"""Translating other projects' tensor names into ours, and giving tensors to a network.

Our names are those of the publisher whose files need no translation: torchvision's for ResNet and
GoogLeNet, timm's for the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onebyone.errors import WeightsError
from onebyone.models.googlenet import GoogLeNet
from onebyone.models.inception_resnet_v2 import InceptionResNetV2
from onebyone.models.mobilenet import MobileNet
from onebyone.models.network import Network
from onebyone.nn import DepthwiseSeparable


@dataclass(frozen=True, slots=True)
class Naming:
    """What another project calls the layers of one family.

    Attributes:
        family: The networks that they are for.
        marker: A tensor that only this project names so.
        paths: Gives, for a network, our path of a layer by the project's.
    """

    family: type[Network]
    marker: str
    paths: Callable[[Network], dict[str, str]]


def translate_names(tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Return the tensors under the names that `network` has for them.

    Names that no known project uses stay as they are. The auxiliary classifiers in torchvision's
    GoogLeNet, which only serve training, are left out.
    """
    if isinstance(network, GoogLeNet):
        tensors = {k: v for k, v in tensors.items() if not k.startswith(("aux1.", "aux2."))}
    for naming in NAMINGS:
        if isinstance(network, naming.family) and naming.marker in tensors:
            return _rename_layers(tensors, naming.paths(network))
    return tensors


def load_tensors(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give `network` the tensors as its parameters and buffers, if they fit.

    Counters of batches (`num_batches_tracked`) may be missing: old files lack them, and they have
    no part in the scores.

    Side effects:
        Replaces all parameters and buffers of `network`, which takes on their dtype and device.

    Raises:
        WeightsError: If they do not fit; says which are missing, left over, or of another kind.
    """
    wanted = network.state_dict()
    counters = {k: torch.tensor(0) for k in wanted if k.endswith("num_batches_tracked")}
    tensors = counters | tensors
    if misfits := describe_misfits(tensors, wanted):
        raise WeightsError(f"the weights do not fit the network: tensors {misfits}")
    # Files keep strides too, some of them strange ones, which decide how fast a layer runs. And
    # they begin tensors anywhere: PyTorch's sums can differ in their last bit with where a tensor
    # lies, so it gets a place of its own, as in any other network.
    dense = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    network.load_state_dict(dense, assign=True)


def describe_misfits(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Say in half a line how tensors differ from the wanted ones by name, shape or kind of number.

    Returns nothing, "", if they do not.
    """
    both = wanted.keys() & tensors.keys()
    misfits = {
        "missing": list(wanted.keys() - tensors.keys()),
        "unknown": list(tensors.keys() - wanted.keys()),
        "of another shape": [
            f"{k} is {tuple(tensors[k].shape)} for {tuple(wanted[k].shape)}"
            for k in both
            if tensors[k].shape != wanted[k].shape
        ],
        "of another kind": [
            f"{k} is {_kind(tensors[k])} for {_kind(wanted[k])}"
            for k in both
            if _kind(tensors[k]) != _kind(wanted[k])
        ],
    }
    return "; ".join(
        f"{len(names)} {how} ({_some(names)})" for how, names in misfits.items() if names
    )


def _kind(tensor: Tensor) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "sparse or quantized"
    if not tensor.is_meta and tensor.untyped_storage().nbytes() < tensor.nbytes:
        return "expanded from less"  # a small file could ask for any amount of memory
    return "floating-point" if tensor.is_floating_point() else "of other numbers"


def _some(names: Sequence[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join([*shown, "..."] if len(names) > len(shown) else shown)


def _rename_layers(tensors: dict[str, Tensor], paths: dict[str, str]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        renamed[f"{paths.get(path, path)}.{leaf}"] = tensor
    return renamed


def _lukemelas_mobilenet(network: Network) -> dict[str, str]:
    """Name layers as lukemelas/EfficientNet-PyTorch: blocks are counted through all stages."""
    separable = {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    }
    inverted = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    paths = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    for i, (path, block) in enumerate(_mobile_blocks(network)):
        layers = separable if isinstance(block, DepthwiseSeparable) else inverted
        paths |= {f"_blocks.{i}.{theirs}": f"{path}.{ours}" for theirs, ours in layers.items()}
    return paths


def _torchvision_mobilenet(network: Network) -> dict[str, str]:
    """Name layers as torchvision's mobilenet_v2: stem, blocks and head are one flat list."""
    separable = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    inverted = {
        "0.0": "conv_pw",
        "0.1": "bn1",
        "1.0": "conv_dw",
        "1.1": "bn2",
        "2": "conv_pwl",
        "3": "bn3",
    }
    paths = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier.1": "classifier"}
    last = 1
    for i, (path, block) in enumerate(_mobile_blocks(network), start=1):
        layers = separable if isinstance(block, DepthwiseSeparable) else inverted
        paths |= {
            f"features.{i}.conv.{theirs}": f"{path}.{ours}" for theirs, ours in layers.items()
        }
        last = i + 1
    return paths | {f"features.{last}.0": "conv_head", f"features.{last}.1": "bn2"}


def _mobile_blocks(network: Network) -> Iterator[tuple[str, nn.Module]]:
    assert isinstance(network, MobileNet)
    for i, stage in enumerate(network.blocks.children()):
        for j, block in enumerate(stage.children()):
            yield f"blocks.{i}.{j}", block


NAMINGS = (
    Naming(MobileNet, "_conv_stem.weight", _lukemelas_mobilenet),
    Naming(MobileNet, "features.0.0.weight", _torchvision_mobilenet),
    Naming(InceptionResNetV2, "last_linear.weight", lambda _: {"last_linear": "classif"}),
)
