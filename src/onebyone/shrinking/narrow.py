"""Which channels of a hidden width go first, and what the layer that reads them can make up for.

Channels go one by one, each time the one whose loss is least if the reader's other weights make up
for it as well as they can: the optimal brain surgeon (Hassibi and Stork, 1993), on blocks of the
weights that read one channel. What is left is the least-squares reader of the channels that stay,
so that the losses of all widths come out of one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onebyone.shrinking.moments import Moments
from onebyone.shrinking.weighting import Weighting, cholesky


@dataclass(frozen=True, slots=True)
class Elimination:
    """The order in which channels go.

    Attributes:
        order: Numbers of all channels, the first to go first.
        losses: The estimated rise of the network's loss, in nats an image, by how many are gone.
    """

    order: tuple[int, ...]
    losses: tuple[float, ...]

    def kept(self, width: int) -> tuple[int, ...]:
        """Return the numbers of the last `width` channels, in order."""
        return tuple(sorted(self.order[len(self.order) - width :]))


def eliminate(weight: Tensor, moments: Moments) -> Elimination:
    """Return the order in which the channels that a layer reads should go.

    Args:
        weight: Of the layer that reads them, `(N_out, C, kernel height, kernel width)`.
        moments: What it reads, and what the loss feels of what it gives.
    """
    weighting = Weighting(moments)
    channels, taps = weight.shape[1], weight.shape[2] * weight.shape[3]
    inverse = torch.cholesky_inverse(cholesky(weighting.inputs))
    left = weighting.outputs[0] @ weight.detach().double().flatten(1)
    order: list[int] = []
    losses = [0.0]
    is_gone = torch.zeros(channels, dtype=torch.bool)
    for _ in range(channels):
        costs = _costs(left, inverse, channels, taps)
        costs[is_gone] = torch.inf
        goes = int(costs.argmin())
        block = slice(goes * taps, (goes + 1) * taps)
        losses.append(losses[-1] + weighting.scale * float(costs[goes].clamp_min(0)))
        rows = torch.linalg.solve(inverse[block, block], inverse[block])
        left = left - left[:, block] @ rows
        inverse = inverse - inverse[:, block] @ rows
        inverse[block, block] = torch.eye(taps, dtype=inverse.dtype)
        order.append(goes)
        is_gone[goes] = True
    return Elimination(tuple(order), tuple(losses))


def narrow_reader(
    weight: Tensor, bias: Tensor | None, moments: Moments, kept: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the reader of the channels that are left that comes closest to the reader of all.

    Args:
        weight: `(N_out, C, kernel height, kernel width)`.
        bias: `(N_out,)`, or None.
        moments: What it reads of all channels.
        kept: Numbers of the channels that are left.

    Returns:
        `(N_out, len(kept), kernel height, kernel width)` and `(N_out,)`; float64.
    """
    taps = weight.shape[2] * weight.shape[3]
    was = weight.detach().double().flatten(1)
    rows = (torch.tensor(kept)[:, None] * taps + torch.arange(taps)).flatten()
    inputs = Weighting(moments).inputs
    wanted = (was @ inputs[:, rows]).T
    found = torch.cholesky_solve(wanted, cholesky(inputs[rows][:, rows])).T
    shift = was @ moments.mean - found @ moments.mean[rows]
    start = shift.new_zeros(len(shift)) if bias is None else bias.detach().double()
    return found.reshape(len(was), len(kept), *weight.shape[2:]), start + shift


def _costs(left: Tensor, inverse: Tensor, channels: int, taps: int) -> Tensor:
    """Return for each channel what its going would add to the squared, weighted error."""
    blocks = inverse.reshape(channels, taps, channels, taps).diagonal(dim1=0, dim2=2)
    blocks = blocks.permute(2, 0, 1)  # (channels, taps, taps)
    weights = left.reshape(len(left), channels, taps).permute(1, 2, 0)
    return (weights * torch.linalg.solve(blocks, weights)).sum((1, 2))
