"""What layers are called: as the network that was exported called them, as well as a file tells.

PyTorch's exporters tell it by the names of weights ("layer1.0.conv1.weight"), of nodes
("/layer1/layer1.0/conv1/Conv") or in a note beside a node; others by the names of weights
("conv2d_3.w_0") or of nodes ("resnet50/conv1_conv/Conv2D").
"""

import ast
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter notes the modules that a node came from."""

_WEIGHT = re.compile(
    r"(?P<layer>.*?[A-Za-z].*?)[._/](weights?|w_\d+|kernel|scale|gamma|depthwise_weights)(:\d+)?"
)
_WORDS: Mapping[str, str] = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "Gemm": "linear",
    "MatMul": "linear",
    "BatchNormalization": "norm",
}
"""What a layer is called that nobody names."""


@dataclass(frozen=True, slots=True)
class Origins:
    """The nodes of a file as it was written, which simplifying it may have replaced.

    Attributes:
        by_weight: By the name of the weight that a node is the first to read.
        by_output: By the name of what it gives.
    """

    by_weight: Mapping[str, "NodeProto"]
    by_output: Mapping[str, "NodeProto"]

    @classmethod
    def of(cls, model: "ModelProto") -> "Origins":
        """Return the nodes of a file."""
        nodes = list(model.graph.node)
        by_weight = {node.input[1]: node for node in reversed(nodes) if len(node.input) > 1}
        return cls(by_weight, {output: node for node in nodes for output in node.output})

    def find(self, node: "NodeProto") -> "NodeProto":
        """Return the node that a node was before, or itself.

        What took the place of several gives what the last of them gave, and has the first's weight.
        """
        by_output = self.by_output.get(node.output[0])
        by_weight = self.by_weight.get(node.input[1]) if len(node.input) > 1 else None
        both = [one for one in (by_output, by_weight) if one is not None]
        alike = [one for one in both if one.op_type == node.op_type]
        return next(iter([*alike, *both, node]))


def name_layers(
    nodes: Mapping[str, "NodeProto"], origins: Origins, *, is_taken: Callable[[str], bool]
) -> dict[str, str]:
    """Return a path for the module of each layer, no two alike and none within another.

    Args:
        nodes: The nodes of layers, by any key.
        origins: What they were in the file.
        is_taken: Whether a module cannot have an attribute of that name.
    """
    before = {key: origins.find(node) for key, node in nodes.items()}
    told = {key: _module_path(node) for key, node in before.items()}
    untold = [key for key, parts in told.items() if not parts]
    paths = _without_common_start([_path_of_name(before[key]) for key in untold])
    told |= dict(zip(untold, paths, strict=True))
    names: dict[str, str] = {}
    for key, node in nodes.items():
        word = _WORDS.get(node.op_type, node.op_type.lower())
        parts = [_cleaned(part, is_taken) for part in told[key]] or [word]
        names[key] = apart(".".join(parts), word, names.values())
    return names


def scope_of(node: "NodeProto") -> str:
    """Return the path of the module that an operator without weights came from, or "".

    Example:
        >>> from onnx.helper import make_node
        >>> scope_of(make_node("Relu", ["a"], ["b"], name="/layer1/layer1.0/act1/Relu"))
        'layer1.0.act1'
        >>> scope_of(make_node("Relu", ["a"], ["b"], name="node_relu_1"))
        ''
    """
    return ".".join(_noted(node) or _from_scopes(node.name))


def _module_path(node: "NodeProto") -> list[str]:
    """Return the parts of a layer's path, if its weight, a note or its node's name has it."""
    layer = _layer_of_weight(node)
    if layer and "/" not in layer and "::" not in layer:
        return layer.split(".")
    return _noted(node) or _from_scopes(node.name)


def _path_of_name(node: "NodeProto") -> list[str]:
    """Return the parts of a layer's path in what its weight or its node is called.

    Behind the path stands what the operator is, and of a weight also how it is read, as in
    "resnet50/conv1_conv/Conv2D/ReadVariableOp:0".
    """
    if layer := _layer_of_weight(node):
        return _split(layer)
    weight = _split(node.input[1]) if len(node.input) > 1 else []
    return weight[:-2] or _split(node.name)[:-1]


def _split(name: str) -> list[str]:
    return [part for part in re.split("/|::", name) if part]


def _layer_of_weight(node: "NodeProto") -> str:
    match = _WEIGHT.fullmatch(node.input[1]) if len(node.input) > 1 else None
    return match["layer"] if match else ""


def _noted(node: "NodeProto") -> list[str]:
    note = next((one.value for one in node.metadata_props if one.key == _SCOPES), "")
    try:
        scopes = ast.literal_eval(note) if note else []
    except (ValueError, SyntaxError):
        return []
    modules = [scope for scope in scopes[:-1] if isinstance(scope, str) and scope]
    return modules[-1].split(".") if modules else []


def _from_scopes(name: str) -> list[str]:
    """Return the path in "/layer1/layer1.0/conv1/Conv", where a list's name comes before its item.

    Example:
        >>> _from_scopes("/layer1/layer1.0/conv1/Conv")
        ['layer1', '0', 'conv1']
    """
    if not name.startswith("/"):
        return []
    *scopes, _ = name.strip("/").split("/")
    kept = [
        scope
        for scope, following in pairwise([*scopes, ""])
        if not following.startswith(f"{scope}.")
    ]
    return ".".join(kept).split(".") if kept else []


def _without_common_start(paths: Sequence[list[str]]) -> list[list[str]]:
    """Leave away the parts that all paths begin with, such as the network's own name."""
    known = [path for path in paths if path]
    while len(known) > 1 and all(len(path) > 1 for path in known):
        if len({path[0] for path in known}) > 1:
            break
        for path in known:
            del path[0]
    return list(paths)


def _cleaned(part: str, is_taken: Callable[[str], bool]) -> str:
    """Return part of a path as the name of a module."""
    part = re.sub(r"\W+", "_", part, flags=re.ASCII).strip("_") or "layer"
    return f"{part}_" if is_taken(part) else part


def apart(path: str, word: str, others: Collection[str]) -> str:
    """Return a path that is no other, and neither holds another nor is held by one.

    Example:
        >>> apart("stem", "conv", ["stem"]), apart("stem", "conv", ["stem.0"])
        ('stem_1', 'stem.conv')
        >>> apart("stem.0", "conv", ["stem"])
        'stem_0'
    """
    holders = [other for other in others if path.startswith(f"{other}.")]
    if holders:
        (holder,) = holders
        path = f"{holder}_{path[len(holder) + 1 :].replace('.', '_')}"
    if any(other.startswith(f"{path}.") for other in others):
        path = f"{path}.{word}"
    numbered = (f"{path}_{number}" for number in count(1))
    return next(one for one in chain([path], numbered) if one not in others)
