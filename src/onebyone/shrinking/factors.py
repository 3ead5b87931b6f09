"""Several convolutions in the place of one: the best there are, and what they lose.

All forms and ranks come from one decomposition of a layer each, none of which is of the large
matrix of what the layer reads; that takes a single Cholesky factor:

    expand      The best r outputs to compute are the leading eigenvectors of
                G^1/2 W S W^T G^1/2, which is only N_out x N_out.
    reduce      The 1x1 in front takes the first r rows of one basis, so that what the k x k reads
                has, for every r, the leading block of one covariance; its Cholesky factor is the
                leading block of one factor L. With Z = L^-1 P S W^T G^1/2, the energy that is kept
                is that of Z's first r k^2 rows.
    bottleneck  Of these rows, the s best outputs: reduced-rank regression, from the N_out x N_out
                products of Z's first r k^2 rows.

The losses are exact for the weights that `factorise` builds, and the weights are the best for the
1x1 in front. That one is the best for patches whose pixels do not hang together, as in the first
step of a Tucker decomposition (Kim et al., arXiv 1511.06530; whitened as in BALF, arXiv 2509.25136,
and Tucker2-ALS-Sigma, arXiv 2511.04494).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from onebyone.nn.edits import Form
from onebyone.shrinking.moments import Moments, Pairs
from onebyone.shrinking.weighting import Weighting, cholesky, roots

RIDGE = 1e-2
"""How much a layer that is found anew is drawn to what it was, as a share of the mean variance of
what it reads."""

BALANCING_ROUNDS = 4
"""Of a bottleneck's two ranks, each round balances one after the other."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What comes in the place of a convolution.

    Attributes:
        weights: Of each convolution in order, `(out, in, kernel height, kernel width)`; float64.
        bias: Of the last one.
    """

    weights: tuple[Tensor, ...]
    bias: Tensor


class Spectrum:
    """What every form and rank loses of one layer.

    Args:
        weight: `(N_out, C, kernel height, kernel width)`.
        moments: What the layer reads, and what the loss feels of what it gives.
    """

    def __init__(self, weight: Tensor, moments: Moments) -> None:
        self._shape = weight.shape
        self._weight = weight.detach().double().flatten(1)
        self._weighting = Weighting(moments)

    def loss(self, form: Form, ranks: tuple[int, ...]) -> float:
        """Return the estimated rise of the network's loss, in nats an image."""
        match form:
            case "expand":
                left = self._outputs[0][ranks[0] :]
            case "reduce":
                left = self._energies[ranks[0] :]
            case "bottleneck":
                lost = self._energies[ranks[0] :].sum() + self._cores(ranks[0])[0][ranks[1] :].sum()
                return self._weighting.scale * float(lost.clamp_min(0))
        return self._weighting.scale * float(left.sum().clamp_min(0))

    def build(self, form: Form, ranks: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return the weights of a form, in order."""
        match form:
            case "expand":
                first, last = self._along(self._outputs[1][:, : ranks[0]], self._weight)
                return first.reshape(ranks[0], *self._shape[1:]), last
            case "reduce":
                return self._front(ranks[0]), self._behind(ranks[0])
            case "bottleneck":
                core = self._behind(ranks[0])
                vectors = self._cores(ranks[0])[1][:, : ranks[1]]
                middle, last = self._along(vectors, core.flatten(1))
                return self._front(ranks[0]), middle.reshape(ranks[1], *core.shape[1:]), last

    def _along(self, vectors: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return what computes only the outputs along some vectors, and the 1x1 behind it."""
        root, inverse = self._weighting.outputs
        return vectors.T @ root @ weight, (inverse @ vectors)[:, :, None, None]

    def _front(self, rank: int) -> Tensor:
        return self._basis[:rank, :, None, None]

    def _behind(self, rank: int) -> Tensor:
        """Return the k x k that reads the first `rank` channels of the basis, the best there is."""
        factor, solved = self._solved
        size = rank * self._taps
        weight = torch.linalg.solve_triangular(factor[:size, :size].T, solved[:size], upper=True)
        return weight.T.reshape(self._shape[0], rank, *self._shape[2:])

    @property
    def _taps(self) -> int:
        return self._shape[2] * self._shape[3]

    @cached_property
    def _outputs(self) -> tuple[Tensor, Tensor]:
        """Energy of each output direction, greatest first, and the directions as columns."""
        weighted = self._weighting.outputs[0] @ self._weight
        return _descending(weighted @ self._weighting.inputs @ weighted.T)

    @cached_property
    def _basis(self) -> Tensor:
        """What the 1x1 in front takes, most important first, `(C, C)`."""
        channels, taps = self._shape[1], self._taps
        blocks = self._weighting.inputs.reshape(channels, taps, channels, taps)
        root, inverse = roots(blocks.diagonal(dim1=1, dim2=3).mean(-1))
        weighted = (self._weighting.outputs[0] @ self._weight).reshape(-1, channels, taps)
        unfolded = torch.einsum("oct,cd->dot", weighted, root).flatten(1)
        return _descending(unfolded @ unfolded.T)[1].T @ inverse

    @cached_property
    def _solved(self) -> tuple[Tensor, Tensor]:
        """L, `(K, K)`, and L^-1 P S W^T, `(K, N_out)`."""
        channels, taps = self._shape[1], self._taps
        inputs = self._weighting.inputs
        half = (self._basis @ inputs.reshape(channels, -1)).reshape(channels * taps, -1)
        mixed = half.reshape(-1, channels, taps)
        read = torch.einsum("kct,bc->kbt", mixed, self._basis).reshape(len(half), -1)
        factor = cholesky(read)
        return factor, torch.linalg.solve_triangular(factor, half @ self._weight.T, upper=False)

    @cached_property
    def _kept(self) -> Tensor:
        """Z, `(C, taps, N_out)`."""
        kept = self._solved[1] @ self._weighting.outputs[0]
        return kept.reshape(self._shape[1], self._taps, -1)

    @cached_property
    def _energies(self) -> Tensor:
        """What each channel of the basis adds to the energy that is kept, `(C,)`."""
        return self._kept.square().sum((1, 2))

    def _cores(self, rank: int) -> tuple[Tensor, Tensor]:
        """Energies and directions of the outputs, if the k x k reads `rank` channels."""
        if rank not in self._known_cores:
            rows = self._kept[:rank].flatten(0, 1)
            self._known_cores[rank] = _descending(rows.T @ rows)
        return self._known_cores[rank]

    @cached_property
    def _known_cores(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}


def factorise(
    weight: Tensor, bias: Tensor | None, moments: Moments, form: Form, ranks: tuple[int, ...]
) -> Factors:
    """Return what comes in the place of a convolution, balanced; the bias makes up for the mean.

    Args:
        weight: `(N_out, C, kernel height, kernel width)`.
        bias: `(N_out,)`, or None.
        moments: What the layer reads, and what the loss feels of what it gives.
        form: What it becomes.
        ranks: Channels between its parts.
    """
    weights = Spectrum(weight, moments).build(form, ranks)
    lost = weight.detach().double().flatten(1) - compose(weights).flatten(1)
    shift = lost @ moments.mean
    return Factors(balance(weights), shift if bias is None else bias.detach().double() + shift)


def compose(weights: tuple[Tensor, ...]) -> Tensor:
    """Return the one convolution that several in a row are, `(out, in, height, width)`.

    All but one of them are 1x1.
    """
    whole = weights[0]
    for weight in weights[1:]:
        if whole.shape[2:] == (1, 1):
            whole = torch.einsum("orhw,rc->ochw", weight, whole[:, :, 0, 0])
        else:
            whole = torch.einsum("or,rchw->ochw", weight[:, :, 0, 0], whole)
    return whole


def balance(weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Scale the channels between convolutions so that both sides weigh the same.

    What they compute together stays the same. Without it, a step of training, or eight bits, would
    mean more for one side than for the other.
    """
    scaled = list(weights)
    for _ in range(BALANCING_ROUNDS if len(scaled) > 2 else 1):
        for place in range(len(scaled) - 1):
            before = scaled[place].flatten(1).norm(dim=1)
            after = scaled[place + 1].transpose(0, 1).flatten(1).norm(dim=1)
            ratio = (after / before).sqrt()
            ratio = torch.where(ratio.isfinite() & (ratio > 0), ratio, torch.ones_like(ratio))
            scaled[place] = scaled[place] * ratio[:, None, None, None]
            scaled[place + 1] = scaled[place + 1] / ratio[:, None, None]
    return tuple(scaled)


def regress(pairs: Pairs, weight: Tensor, *, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Return the weight and bias that come closest to given outputs from what is read.

    Args:
        pairs: What the layer reads, beside what it is to give.
        weight: What it was, `(N_out, C, kernel height, kernel width)`, which it is drawn to.
        ridge: How much, as a share of the mean variance of what it reads.

    Returns:
        `(N_out, C, kernel height, kernel width)` and `(N_out,)`; float64.
    """
    was = weight.detach().double().flatten(1)
    pull = float(ridge * pairs.covariance.diagonal().mean())
    if pull > 0 or ridge == 0:
        drawn = pairs.covariance.clone()
        drawn.diagonal().add_(pull)
        found = torch.cholesky_solve((pairs.cross + pull * was).T, cholesky(drawn)).T
    else:
        found = was  # it reads nothing that varies
    return found.reshape(weight.shape), pairs.mean_out - found @ pairs.mean


def _descending(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of a symmetric matrix, greatest first, and the vectors as columns."""
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0), vectors.flip(1)
