"""What multiplies in a convolution."""

from typing import Literal

from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Convolution

Unit = Literal["vector", "pairs", "matrix"]


def runs_depthwise(node: Convolution) -> bool:
    """Whether a convolution has the kernel that goes through channels side by side."""
    is_square = node.stride[0] == node.stride[1] and node.dilation[0] == node.dilation[1]
    return node.is_channelwise and is_square


def unit_of(node: Convolution, target: Target, options: CompileOptions) -> Unit:
    """Return what multiplies: for bfloat16 the best that the target has, if it is for the node.

    It follows from the node alone, and not from the number of images, so that bits do.
    """
    if options.numerics != "bf16" or runs_depthwise(node):
        return "vector"
    if target.bf16 == "tiles" and node.groups == 1:
        return "matrix"
    return "pairs" if target.bf16 == "pairs" else "vector"


def depth_of(node: Convolution, unit: Unit) -> int:
    """Return the steps of K of a convolution on vectors: numbers, or pairs of them."""
    numbers = node.weight[0].numel()
    return -(-numbers // 2) if unit == "pairs" else numbers
