"""Weights as bfloat16, in the order in which matrix tiles read them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onebyone.compiler.choose.tiling import Tiling
from onebyone.compiler.emit.matrix_tiles import COLUMNS
from onebyone.compiler.emit.matrix_tiles import DEPTH as STEP


def steps_of(depth: int) -> int:
    """Return how many steps the numbers at one position of the kernel take."""
    return -(-depth // STEP)


def pack_matrix(weight: Tensor, taps: int, tiling: Tiling) -> Tensor:
    """Return `(blocks, steps, vectors, 16 pairs, 16 channels, 2)` as words of 32 bits.

    There are zeros where there is no number. The last block has `last_vectors`; what is left of it
    at its end is unused.
    """
    out_channels = weight.shape[0]
    # (N_out, taps, numbers at each), in the order of memory: the kernel's columns, then channels.
    rows = weight.permute(0, 2, 3, 1).reshape(out_channels, taps, -1)
    depth = rows.shape[2]
    block, last = tiling.vectors * COLUMNS, tiling.last_vectors * COLUMNS
    full = (tiling.blocks - 1) * block
    padding = (0, steps_of(depth) * STEP - depth, 0, 0, 0, full + last - out_channels)
    rows = F.pad(rows, padding).to(torch.bfloat16)
    pairs = rows.reshape(full + last, taps * steps_of(depth), STEP // 2, 2)

    def blocks_of(part: Tensor, vectors: int) -> Tensor:
        cut = part.unflatten(0, (len(part) // (vectors * COLUMNS), vectors, COLUMNS))
        return cut.permute(0, 3, 1, 4, 2, 5).flatten()

    head, tail = (
        blocks_of(pairs[:full], tiling.vectors),
        blocks_of(pairs[full:], tiling.last_vectors),
    )
    unused = rows.new_zeros((block - last) * pairs.shape[1] * STEP)
    return torch.cat([head, tail, unused]).view(torch.int32)
