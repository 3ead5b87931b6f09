"""Shapes that a file computes while it runs, worked out beforehand.

Exporters write "as many rows as there are images" as arithmetic on shapes. What depends on nothing
but the number of images is found by working all shapes out for one image and for two.
"""

from typing import TYPE_CHECKING

import numpy as np

from onebyone.importing.inputs import BATCH

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shape = tuple[int, ...]


def fix_reshapes(model: "ModelProto") -> "ModelProto":
    """Return a file whose `Reshape`s have numbers for shapes, where these can be known.

    Args:
        model: With the sizes of its inputs fixed, but for the batch; it is left unchanged.
    """
    from onnx.numpy_helper import from_array

    known = {tensor.name for tensor in model.graph.initializer}
    known |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    if not any(_is_computed(node, known) for node in model.graph.node):
        return model
    one, two = _shapes_for(model, 1), _shapes_for(model, 2)
    fixed = type(model)()
    fixed.CopyFrom(model)
    for node in fixed.graph.node:
        name = node.output[0] if node.output else ""
        if not _is_computed(node, known) or name not in one or name not in two:
            continue
        shape = _shape_for_any(one[name], two[name])
        if shape is not None:
            fixed.graph.initializer.append(from_array(np.array(shape), f"{name}:shape"))
            node.input[1] = f"{name}:shape"
            del node.attribute[:]
    return fixed


def _is_computed(node: "NodeProto", known: set[str]) -> bool:
    return node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] not in known


def _shape_for_any(one: Shape, two: Shape) -> Shape | None:
    """Return a shape for any number of images, from those for one and for two.

    Example:
        >>> _shape_for_any((1, 512), (2, 512)), _shape_for_any((3, 4), (3, 4))
        ((-1, 512), (3, 4))
        >>> _shape_for_any((1, 2, 4), (2, 4, 4)) is None
        True
    """
    if len(one) != len(two) or 0 in one:
        return None
    open_dims = [a != b for a, b in zip(one, two, strict=True)]
    if sum(open_dims) > 1:
        return None
    return tuple(-1 if is_open else a for is_open, a in zip(open_dims, one, strict=True))


def _shapes_for(model: "ModelProto", batch: int) -> dict[str, Shape]:
    """Return the shapes of a file's values that can be known for a number of images."""
    from onnx.shape_inference import infer_shapes

    copy = type(model)()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH:
                dim.dim_value = batch
    for value in copy.graph.output:  # what the file says of any number may be wrong for this one
        value.type.tensor_type.ClearField("shape")
    inferred = infer_shapes(copy, data_prop=True).graph
    shapes: dict[str, Shape] = {}
    for value in (*inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return shapes
