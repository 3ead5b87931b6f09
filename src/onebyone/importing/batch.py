"""Files that fix how many images come in a call, made to take any number.

Most are exported with one image, and nothing in them but a few shapes depends on that.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from onebyone.errors import OneByOneError
from onebyone.importing.check import deviation_of, run_module
from onebyone.importing.inputs import BATCH, Input

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

ROUNDING = 1e-4
"""Relative RMS by which an image may give something else when another one is beside it."""


def open_batch(model: "ModelProto", images: Input) -> "ModelProto":
    """Return a copy of a file that leaves open how many images it reads.

    Shapes that begin with that number, where what is reshaped does too, take it from there instead.
    For the number in the file nothing changes; `takes_any_batch` tries another one.

    Args:
        model: The file, with all sizes fixed.
        images: The one thing that it reads.
    """
    from onnx.shape_inference import infer_shapes

    batch, opened = images.shape[0], infer_shapes(model)
    graph = opened.graph
    with_batch = {
        value.name
        for value in (*graph.value_info, *graph.input)
        if (dims := value.type.tensor_type.shape.dim) and dims[0].dim_value == batch
    }
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"
    }
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] in with_batch:
            shape = _with_open_batch(node, constants, batch)
            if shape is not None:
                graph.initializer.append(shape)
                node.input[1] = shape.name
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in graph.input:
        if value.name == images.name:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    return opened


def takes_any_batch(network: nn.Module, images: Input) -> bool:
    """Whether two calls' images in one call give what they give in two."""
    first = images.example()
    second = first.flip(-1)
    try:
        both = run_module(network, [torch.cat([first, second])])
        pairs = zip(*(run_module(network, [one]) for one in (first, second)), strict=True)
        return deviation_of(both, list(map(torch.cat, pairs))) <= ROUNDING
    except (OneByOneError, RuntimeError):  # of sizes that do not fit, or cannot be joined
        return False


def _with_open_batch(
    node: "NodeProto", constants: "dict[str, TensorProto]", batch: int
) -> "TensorProto | None":
    """Return a shape that keeps the first size, in place of one that begins with the batch."""
    from onnx.numpy_helper import from_array, to_array

    if node.input[1] not in constants:
        return None
    shape = to_array(constants[node.input[1]]).copy()
    if shape.size == 0 or shape[0] != batch or 0 in shape:
        return None
    shape[0] = 0  # "as many as before", unless zeros are meant
    kept = [one for one in node.attribute if one.name != "allowzero"]
    del node.attribute[:]
    node.attribute.extend(kept)
    return from_array(shape, f"{node.output[0]}:shape")
