"""From nodes to operations: a table with one function for each kind of node."""

from collections.abc import Callable
from typing import Any

from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.convolution import lower_convolution
from onebyone.compiler.kernels.elementwise import (
    lower_activation,
    lower_arithmetic,
    lower_batch_norm,
    lower_concat,
)
from onebyone.compiler.kernels.gather import lower_shuffle, lower_slice
from onebyone.compiler.kernels.normalize import lower_layer_norm, lower_softmax
from onebyone.compiler.kernels.pad import lower_pad
from onebyone.compiler.kernels.pool import lower_pool
from onebyone.compiler.kernels.transfer import (
    lower_constant,
    lower_input,
    lower_reshape,
    write_output,
)
from onebyone.compiler.kernels.upsample import lower_upsample
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    Input,
    LayerNorm,
    Node,
    Pad,
    Pool,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
)

LOWER: dict[type[Node], Callable[[PlanBuilder, Any], None]] = {
    Input: lower_input,
    Constant: lower_constant,
    Convolution: lower_convolution,
    BatchNorm: lower_batch_norm,
    LayerNorm: lower_layer_norm,
    Activation: lower_activation,
    Arithmetic: lower_arithmetic,
    Softmax: lower_softmax,
    Pool: lower_pool,
    Upsample: lower_upsample,
    Pad: lower_pad,
    Concat: lower_concat,
    Slice: lower_slice,
    Shuffle: lower_shuffle,
    Reshape: lower_reshape,
}


def lower(builder: PlanBuilder) -> None:
    """Lower all nodes, then bring outputs to the caller's tensors."""
    for node in builder.graph:
        LOWER[type(node)](builder, node)
    for index, ref in enumerate(builder.graph.outputs):
        write_output(builder, builder.graph[ref.name], index)
