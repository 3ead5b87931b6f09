"""What multiplies in a convolution."""

from typing import Literal

import torch

from onebyone.compiler.memory.formats import FLOAT_BYTES, FP16
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Convolution

Unit = Literal["vector", "halves", "pairs", "matrix"]
"""Vectors of float32; these with weights that are halves; vectors of pairs of bfloat16; tiles."""

Converted = Literal["in tiles", "by panels", "beforehand"]
"""Where halves become float32: in each tile; a panel at once, for all tiles of a chunk; or before
they are packed."""


def runs_depthwise(node: Convolution) -> bool:
    """Whether a convolution has the kernel that goes through channels side by side."""
    is_square = node.stride[0] == node.stride[1] and node.dilation[0] == node.dilation[1]
    return node.is_channelwise and is_square


def unit_of(node: Convolution, target: Target, options: CompileOptions) -> Unit:
    """Return what multiplies: for bfloat16 the best that the target has, if it is for the node.

    It follows from the node alone, and not from the number of images, so that bits do.
    """
    if options.weights == FP16:
        return "halves" if not node.is_depthwise and fits_halves(node) else "vector"
    if options.numerics != "bf16" or runs_depthwise(node):
        return "vector"
    if target.bf16 == "tiles" and node.groups == 1:
        return "matrix"
    return "pairs" if target.bf16 == "pairs" else "vector"


def depth_of(node: Convolution, unit: Unit) -> int:
    """Return the steps of K of a convolution on vectors: numbers, or pairs of them."""
    numbers = node.weight[0].numel()
    return -(-numbers // 2) if unit == "pairs" else numbers


def step_bytes(unit: Unit) -> int:
    """Return the bytes of a channel's weights in one step of K, on vectors."""
    return FP16.number_bytes if unit == "halves" else FLOAT_BYTES


def fits_halves(node: Convolution) -> bool:
    """Whether all weights are finite numbers as halves."""
    extremes = torch.stack(node.weight.detach().aminmax())
    return bool(extremes.half().isfinite().all())
