"""Matrices that say what matters: of what a layer reads, and of what it gives."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from onebyone.shrinking.moments import Moments

INPUT_RIDGE = 1e-5
"""What is added to a covariance's diagonal, as a share of its mean: images are few, and numbers
that never differed among them may differ elsewhere."""

OUTPUT_RIDGE = 1e-3
"""The same for the gradients' second moment: outputs that the loss never felt are not for free."""


@dataclass(frozen=True)
class Weighting:
    """How much errors of a layer's weights count: `loss(E) = 1/2 T tr(G E S E^T)`.

    It is the second-order estimate of the rise of the network's loss, in nats an image, if the
    layer's weights are wrong by E and its bias makes up for the mean (Martens and Grosse, arXiv
    1503.05671). `S` is the covariance of the patches, `G` the second moment of the gradients.

    Args:
        moments: What the layer reads, and what the loss feels of what it gives.
    """

    moments: Moments

    @cached_property
    def inputs(self) -> Tensor:
        """S, `(K, K)`, never singular."""
        return with_ridge(self.moments.covariance, INPUT_RIDGE)

    @cached_property
    def scale(self) -> float:
        """The mean of G's diagonal, times half of the positions; 0 if the loss feels nothing."""
        mean = float(self.moments.gradients.diagonal().mean())
        return 0.5 * self.moments.positions * mean

    @cached_property
    def outputs(self) -> tuple[Tensor, Tensor]:
        """The roots of G over its mean diagonal, `(N_out, N_out)`, and of its inverse."""
        gradients = self.moments.gradients
        mean = gradients.diagonal().mean()
        if mean <= 0:
            identity = torch.eye(len(gradients), dtype=gradients.dtype)
            return identity, identity
        return roots(with_ridge(gradients / mean, OUTPUT_RIDGE) / (1 + OUTPUT_RIDGE))

    def loss(self, error: Tensor) -> float:
        """Return the loss of weights that are wrong by `(N_out, K)`."""
        weighted = self.outputs[0] @ error.double()
        return self.scale * float(((weighted @ self.inputs) * weighted).sum())


def with_ridge(matrix: Tensor, share: float) -> Tensor:
    """Return a matrix with a share of its mean diagonal added to its diagonal."""
    mean = matrix.diagonal().mean().clamp_min(torch.finfo(matrix.dtype).tiny ** 0.5)
    result = matrix.clone()
    result.diagonal().add_(share * mean)
    return result


def roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric roots of a symmetric matrix, and of its inverse.

    What rounding made negative counts as very small.
    """
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp_min(values[-1] * 1e-12).sqrt()
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def cholesky(matrix: Tensor) -> Tensor:
    """Return the lower factor of a matrix that may be singular by rounding."""
    ridge = INPUT_RIDGE
    while True:
        factor, failure = torch.linalg.cholesky_ex(matrix)
        if not failure:
            return factor
        matrix = with_ridge(matrix, ridge)
        ridge *= 10
