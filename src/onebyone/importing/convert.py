"""From a file's network to a module: onnx2fx's functions, PyTorch's layers, and names."""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx, nn

from onebyone.errors import ModelError, ShapeError, first_line
from onebyone.importing.inputs import Input
from onebyone.importing.layers import layers_as_modules
from onebyone.importing.names import Origins, apart, name_layers, scope_of
from onebyone.importing.operators import nodes_of

if TYPE_CHECKING:
    from onnx import ModelProto


class OnnxNetwork(fx.GraphModule):
    """A network that was made of an ONNX file."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxNetwork":
        """Return a copy that has what was set on this one, such as a card."""
        copy = super().__deepcopy__(memo)  # of its graph and modules only
        assert isinstance(copy, OnnxNetwork)
        for name, value in vars(self).items():
            vars(copy).setdefault(name, value)
        return copy


def convert(model: "ModelProto", origins: Origins) -> OnnxNetwork:
    """Return a file's network as a module in evaluation mode.

    Its layers are PyTorch's modules under the names that the file has for them; what has no weights
    is functions.

    Args:
        model: The network, simplified or not.
        origins: What its nodes were in the file.

    Raises:
        ModelError: If some of it cannot be converted.
    """
    onnx2fx: Any = import_module("onnx2fx")
    with layers_as_modules() as layers:
        try:
            made = onnx2fx.convert(_with_apart_constants(model))
        except Exception as error:  # besides its own errors, whatever a setting it did not expect
            raise ModelError(f"it cannot be converted to PyTorch: {first_line(error)}") from error
    _spell_numbers(made)
    made.graph.eliminate_dead_code()  # what read weights that belong to layers now
    names = name_layers(layers.nodes, origins, is_taken=_is_taken)
    _place(made, model, origins, names)
    return _rebuilt(made, names).eval()


def finish_inputs(network: OnnxNetwork, inputs: Sequence[Input], name: str) -> None:
    """Let a network read images as `(N, C, H, W)` and nothing of another size, in place.

    Sizes are part of it: what depends on them was worked out beforehand.

    Args:
        network: As it was converted.
        inputs: What it reads.
        name: Of the file, for the line that says so.
    """
    values = [node for node in network.graph.nodes if node.op == "placeholder"]
    for value, one in zip(values, inputs, strict=True):
        shape = one.shape
        users = list(value.users)
        with network.graph.inserting_after(value):
            last = checked = network.graph.call_function(_checked)
        if one.channels_last:
            shape = (shape[0], *(one.image_shape or ()))
            with network.graph.inserting_after(checked):
                last = network.graph.call_method("permute", (checked, 0, 2, 3, 1))
        checked.args = (value, name, None if one.any_batch else shape[0], shape[1:])
        for user in users:
            user.replace_input_with(value, last)
    network.recompile()


def _checked(value: Tensor, name: str, batch: int | None, sizes: tuple[int, ...]) -> Tensor:
    """Return a tensor that a network may read.

    Raises:
        ShapeError: If it is of another shape.
    """
    if tuple(value.shape[1:]) == tuple(sizes) and batch in (None, value.shape[0]):
        return value
    wanted = ", ".join(map(str, ("N" if batch is None else batch, *sizes)))
    cure = "" if batch is None else "; for another number of images export it with an open batch"
    raise ShapeError(f"{name} reads ({wanted}), and {tuple(value.shape)} came{cure}")


def _is_taken(name: str) -> bool:
    return hasattr(_EMPTY, name)


_EMPTY = OnnxNetwork(nn.Module(), fx.Graph())


def _with_apart_constants(model: "ModelProto") -> "ModelProto":
    """Return a file whose constants can all be attributes of one module.

    onnx2fx makes attributes of their names: "a.b" and "a_b" would be one, and "half" is taken.
    """
    attributes: set[str] = set()
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        attribute = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        if attribute in attributes or _is_taken(attribute):
            renamed[tensor.name] = attribute = f"constant_{len(renamed)}_of_{attribute}"
        attributes.add(attribute)
    if not renamed:
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in nodes_of(copy.graph):
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    return copy


_SAY_HOW = frozenset(
    ("Expand", "Pad", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Unsqueeze")
)
"""Operators that are told by tensors what they do: shapes, sides, and where to cut."""


def _spell_numbers(made: fx.GraphModule) -> None:
    """Write known numbers that say what an operator does into the graph, in place.

    As tensors they would be read while the network runs, which no exporter can follow.
    """
    for node in made.graph.nodes:
        if node.meta.get("onnx_op_type") in _SAY_HOW:
            first, *others = node.args
            node.args = (first, *(_spelt(made, one) for one in others))


def _spelt(made: fx.GraphModule, value: Any) -> Any:
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return value
    numbers = made.get_buffer(str(value.target))
    return numbers.tolist() if numbers.dim() == 1 else value


def _place(
    made: fx.GraphModule, model: "ModelProto", origins: Origins, names: dict[str, str]
) -> None:
    """Say of each operator which module it came from, where the file tells."""
    scopes = {node.name: scope_of(origins.find(node)) for node in model.graph.node if node.name}
    for node in made.graph.nodes:
        if node.op == "call_module":
            node.target = names[str(node.target)]
        elif scope := scopes.get(node.meta.get("onnx_name", "")):
            node.meta["nn_module_stack"] = {scope: (scope, nn.Module)}


def _rebuilt(made: fx.GraphModule, names: dict[str, str]) -> OnnxNetwork:
    """Return the graph on modules under their names, and the constants that it still reads."""
    root = nn.Module()
    for old, path in names.items():
        *parents, name = path.split(".")
        holder = root
        for parent in parents:
            if not hasattr(holder, parent):
                holder.add_module(parent, nn.Module())
            holder = holder.get_submodule(parent)
        holder.add_module(name, made.get_submodule(old))
    constants: dict[str, str] = {}
    for node in made.graph.nodes:
        if node.op == "get_attr":
            old = str(node.target)
            if old not in constants:
                constants[old] = apart(old, "constant", [*names.values(), *constants.values()])
                root.register_buffer(constants[old], made.get_buffer(old))
            node.target = constants[old]
    return OnnxNetwork(root, made.graph)
