"""Weights in the order in which tiles read them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onebyone.compiler.choose.tiling import Tiling


def pack_convolution(weight: Tensor, groups: int, tiling: Tiling, lanes: int) -> Tensor:
    """Return `(groups * blocks, taps, C / groups, vectors * lanes)`, zeros where there is none.

    The last block of a group keeps the size of the others, but is packed as rows of `last_vectors`
    vectors; what is left of it at its end is unused.
    """
    out_channels, depth, height, width = weight.shape
    taps = height * width
    per_group = out_channels // groups
    block = tiling.vectors * lanes
    # (groups, N_out, taps, C)
    rows = weight.view(groups, per_group, depth, taps).transpose(2, 3)
    full = (tiling.blocks - 1) * block
    head = rows[:, :full].reshape(groups, tiling.blocks - 1, block, taps, depth)
    head = head.permute(0, 1, 3, 4, 2).reshape(groups, -1)
    last = tiling.last_vectors * lanes
    tail = weight.new_zeros(groups, taps, depth, last)
    tail[..., : per_group - full] = rows[:, full:].permute(0, 2, 3, 1)
    unused = weight.new_zeros(groups, taps * depth * (block - last))
    return torch.cat([head, tail.reshape(groups, -1), unused], 1)


def pack_pairs(weight: Tensor, groups: int, taps: int, tiling: Tiling, lanes: int) -> Tensor:
    """Return what `pack_convolution` does, of pairs of bfloat16 as words of 32 bits.

    Pairs are of the numbers at one of `taps` positions; a last one alone is beside a zero.
    """
    numbers = weight.permute(0, 2, 3, 1).reshape(weight.shape[0], taps, -1)
    padded = F.pad(numbers, (0, numbers.shape[2] % 2)).to(torch.bfloat16).contiguous()
    pairs = padded.view(torch.int32).transpose(1, 2).unsqueeze(3).contiguous()
    return pack_convolution(pairs, groups, tiling, lanes)


def pack_bias(
    bias: Tensor | None, channels: int, groups: int, tiling: Tiling, lanes: int
) -> Tensor:
    """Return `(groups, blocks * vectors * lanes)`, zeros where there is none."""
    packed = torch.zeros(groups, tiling.blocks * tiling.vectors * lanes, dtype=torch.float32)
    if bias is not None:
        packed[:, : channels // groups] = bias.view(groups, -1)
    return packed
