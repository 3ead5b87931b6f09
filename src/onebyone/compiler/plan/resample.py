"""Which input pixels an enlarged image reads, computed as PyTorch does it (in float32)."""

import torch
from torch import Tensor

from onebyone.graph import Shape, Upsample


def nearest_table(node: Upsample, source: Shape, axis: int) -> Tensor:
    """Return the input row (axis 0) or column (axis 1) of each output one."""
    size, target = source[2 + axis], node.shape[2 + axis]
    if target in (size, 2 * size):  # where PyTorch does not look at the user's factor
        return torch.arange(target) // (target // size)
    position = torch.arange(target, dtype=torch.float32) * _scale(node, size, target, axis)
    return position.floor().long().clamp(max=size - 1)


def bilinear_table(node: Upsample, source: Shape, axis: int) -> tuple[Tensor, Tensor]:
    """Return two input rows (or columns) for each output one, and the weight of the second."""
    size, target = source[2 + axis], node.shape[2 + axis]
    index = torch.arange(target, dtype=torch.float32)
    if target == size:  # where PyTorch does not look at the user's factor
        position = index
    elif node.align_corners:
        position = index * ((size - 1) / (target - 1) if target > 1 else 0.0)
    else:
        scale = _scale(node, size, target, axis)
        position = ((index + 0.5) * scale - 0.5).clamp(min=0.0)
    near = position.long().clamp(max=size - 1)
    # Where no size changes, PyTorch mixes each pixel with itself; none meets its neighbour's NaN.
    far = near if target == size else (near + 1).clamp(max=size - 1)
    return torch.stack([near, far], 1), (position - near).clamp(max=1.0)


def _scale(node: Upsample, size: int, target: int, axis: int) -> float:
    """Input pixels per output pixel: from the user's factor where there is one."""
    return 1.0 / node.scale[axis] if node.scale else size / target
