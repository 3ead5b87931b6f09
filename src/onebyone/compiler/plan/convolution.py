"""Which of three ways a convolution runs."""

from onebyone.compiler.plan.dense import lower_dense
from onebyone.compiler.plan.depthwise import lower_depthwise
from onebyone.compiler.plan.lowering import Lowering
from onebyone.compiler.plan.transformed import lower_winograd
from onebyone.graph import Convolution


def lower_convolution(lowering: Lowering, node: Convolution) -> None:
    """Add the operations that compute a convolution."""
    is_square = node.stride[0] == node.stride[1] and node.dilation[0] == node.dilation[1]
    if node.is_depthwise and is_square:
        lower_depthwise(lowering, node)
    elif node.name in lowering.winograds:
        lower_winograd(lowering, node, lowering.winograds[node.name])
    else:
        lower_dense(lowering, node)
