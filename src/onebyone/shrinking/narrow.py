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

PUT_OFF = 32
"""Cuts whose changes of the whole inverse are made together."""


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
    channels = weight.shape[1]
    weighted = weighting.outputs[0] @ weight.detach().double().flatten(1)
    surgeon = _Surgeon(
        torch.cholesky_inverse(cholesky(weighting.inputs)),
        weighted.T.reshape(channels, -1, len(weight)).contiguous(),
    )
    order: list[int] = []
    losses = [0.0]
    for _ in range(channels):
        goes, cost = surgeon.cut()
        order.append(goes)
        losses.append(losses[-1] + weighting.scale * cost)
    return Elimination(tuple(order), tuple(losses))


class _Surgeon:
    """Cut channels, and let the weights of the others make up for it.

    What each cut changes in the inverse is of low rank, and is put off until there are many: to
    write all of a large matrix for every channel would take longer than all else together.

    Args:
        inverse: Of the covariance of what is read, `(K, K)`; symmetric.
        weights: What each channel is read with, `(C, taps, N_out)`; it is written into.
    """

    def __init__(self, inverse: Tensor, weights: Tensor) -> None:
        self._numbers = torch.arange(len(weights))
        self._is_gone = torch.zeros(len(weights), dtype=torch.bool)
        self._inverse, self._weights = inverse, weights
        channels, taps, _ = weights.shape
        blocks = inverse.reshape(channels, taps, channels, taps).diagonal(dim1=0, dim2=2)
        self._blocks = blocks.permute(2, 0, 1).contiguous()  # (C, taps, taps)
        self._columns: list[Tensor] = []
        self._rows: list[Tensor] = []

    def cut(self) -> tuple[int, float]:
        """Cut the channel whose loss is least; return its number, and that squared error."""
        costs = self._costs()
        goes = int(costs.argmin())
        cost = float(costs[goes].clamp_min(0))
        row = self._row(goes)  # (taps, K)
        solved = torch.linalg.solve(row[:, self._slice(goes)], row)
        flat = self._weights.flatten(0, 1)
        flat.addmm_(solved.T, self._weights[goes].clone(), alpha=-1)
        parts = (len(row), len(self._numbers), len(row))
        self._blocks -= torch.einsum("acb,acd->cbd", row.reshape(parts), solved.reshape(parts))
        self._blocks[goes] = torch.eye(len(row), dtype=row.dtype)  # nothing asks for it again
        self._is_gone[goes] = True
        self._columns.append(row.T)
        self._rows.append(solved)
        number = int(self._numbers[goes])
        if len(self._rows) == PUT_OFF:
            self._catch_up()
        return number, cost

    def _costs(self) -> Tensor:
        """Return for each channel what its going would add to the squared, weighted error."""
        squares = self._weights @ self._weights.transpose(1, 2)
        costs = torch.linalg.solve(self._blocks, squares).diagonal(dim1=1, dim2=2).sum(1)
        costs[self._is_gone] = torch.inf
        return costs

    def _slice(self, channel: int) -> slice:
        taps = self._weights.shape[1]
        return slice(channel * taps, (channel + 1) * taps)

    def _row(self, channel: int) -> Tensor:
        """Return a channel's rows of the inverse as it is now."""
        row = self._inverse[self._slice(channel)]
        if not self._rows:
            return row.clone()
        columns = torch.cat([one[self._slice(channel)] for one in self._columns], 1)
        return row - columns @ torch.cat(self._rows)

    def _catch_up(self) -> None:
        """Do what was put off, and forget the channels that are gone."""
        self._inverse.addmm_(torch.cat(self._columns, 1), torch.cat(self._rows), alpha=-1)
        self._columns.clear()
        self._rows.clear()
        left = ~self._is_gone
        at = left.repeat_interleave(self._weights.shape[1])
        self._inverse = self._inverse[at][:, at]
        self._weights, self._blocks = self._weights[left], self._blocks[left]
        self._numbers, self._is_gone = self._numbers[left], self._is_gone[left]


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
