"""Reductions of a trained network that are made to read less, and what that leaves of it."""

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onebyone.nn import Bottleneck


@dataclass(frozen=True, slots=True)
class Moments:
    """What is known of a reduction's input: all pixels of all images that were looked at.

    Attributes:
        mean: `(in_channels,)`, float64.
        covariance: `(in_channels, in_channels)`, float64.
    """

    mean: Tensor
    covariance: Tensor


Sketch = Callable[[Tensor, Moments, int], Tensor]
"""Choose k mixtures of the channels, `(k, in_channels)`, by the weight `(out, in_channels)` of a
reduction and what it reads."""


def strongest_weights(weight: Tensor, _: Moments, rank: int) -> Tensor:
    """Return what the weights answer to most: their right singular vectors."""
    return torch.linalg.svd(weight, full_matrices=False).Vh[:rank]


def strongest_inputs(_: Tensor, moments: Moments, rank: int) -> Tensor:
    """Return what varies most in the input: its principal components."""
    return _largest(moments.covariance, rank)


def strongest_outputs(weight: Tensor, moments: Moments, rank: int) -> Tensor:
    """Return what varies most in the output: of all choices, the one nearest to the output."""
    return _largest(weight @ moments.covariance @ weight.T, rank) @ weight


def random_mixtures(weight: Tensor, _: Moments, rank: int) -> Tensor:
    """Return mixtures that are drawn from torch's generator, and know of nothing."""
    return torch.randn(rank, weight.shape[1], dtype=weight.dtype)


def _largest(covariance: Tensor, rank: int) -> Tensor:
    return torch.linalg.eigh(covariance).eigenvectors.T[-rank:].flip(0)


def projector(covariance: Tensor, sketch: Tensor) -> Tensor:
    """Return P, for which P x is the best linear estimate of a centred x from A x.

    P = S A' (A S A')^-1 A, for the covariance S of x and the sketch A. tr(P S) / tr S is then the
    share of the variance that A keeps, as `onebyone.explainer` measures it.

    Args:
        covariance: S, `(C, C)`.
        sketch: A, `(k, C)`.
    """
    crossed = sketch @ covariance
    return crossed.T @ torch.linalg.pinv(crossed @ sketch.T, hermitian=True) @ sketch


def narrowing_blocks(network: nn.Module) -> dict[str, Bottleneck]:
    """Return the bottlenecks whose first 1x1 gives fewer channels than it reads, by their paths."""
    return {
        path: block
        for path, block in network.named_modules()
        if isinstance(block, Bottleneck) and block.conv1.out_channels < block.conv1.in_channels
    }


@torch.no_grad()
def read_moments(network: nn.Module, batches: Sequence[Tensor]) -> dict[str, Moments]:
    """Run a network on images, and return what its reductions read, by the paths of their blocks.

    Args:
        network: In evaluation mode.
        batches: Images, `(N, C, H, W)` each.
    """
    sums = {
        path: _Sums(block.conv1.in_channels) for path, block in narrowing_blocks(network).items()
    }
    with _watched(network, sums):
        for images in batches:
            network(images)
    return {path: one.moments() for path, one in sums.items()}


class _Sums:
    """Sums over pixels, in float64: of so few images, nothing is lost by subtracting the mean."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sum = torch.zeros(channels, dtype=torch.float64)
        self.products = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        pixels = given[0].transpose(0, 1).flatten(1).double()
        self.count += pixels.shape[1]
        self.sum += pixels.sum(1)
        self.products.addmm_(pixels, pixels.T)

    def moments(self) -> Moments:
        mean = self.sum / self.count
        return Moments(mean, self.products / self.count - mean.outer(mean))


@contextmanager
def _watched(network: nn.Module, sums: Mapping[str, _Sums]) -> Generator[None]:
    blocks = narrowing_blocks(network)
    hooks = [blocks[path].conv1.register_forward_pre_hook(one.add) for path, one in sums.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def replace_reductions(
    network: nn.Module, moments: Mapping[str, Moments], sketch: Sketch, *, part: float
) -> tuple[nn.Module, float]:
    """Return a copy in which every reduction reads its input through a few mixtures of it.

    Rewrite:  W x  -->  W (P (x - m) + m), with P the best estimate from k = `part` of the
              reduction's width mixtures, and m the mean of its input
    Cost:     none: W P takes the place of W, and W (m - P m) goes into the batch norm's mean

    All are replaced at once, by what each one read in the network as it was. The batch norms'
    deviations stay; `renew_norms` measures them again.

    Args:
        network: In evaluation mode; it is left as it is.
        moments: What its reductions read.
        sketch: Chooses the mixtures.
        part: Mixtures, as a share of the channels that a reduction gives.

    Returns:
        The copy, and the share of the input's variance that is kept, the mean over the reductions.
    """
    network = copy.deepcopy(network)
    kept: list[float] = []
    for path, block in narrowing_blocks(network).items():
        conv, norm, known = block.conv1, block.bn1, moments[path]
        weight = conv.matrix.double()
        chosen = sketch(weight, known, max(1, round(part * conv.out_channels)))
        estimate = projector(known.covariance, chosen)
        kept.append(float((estimate @ known.covariance).trace() / known.covariance.trace()))
        narrowed = weight @ estimate
        assert norm.running_mean is not None
        norm.running_mean -= ((weight - narrowed) @ known.mean).to(norm.running_mean)
        conv.matrix.copy_(narrowed)
    return network, sum(kept) / len(kept)


@torch.no_grad()
def renew_norms(network: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """Return a copy whose batch norms have the mean and variance of these images.

    Args:
        network: In evaluation mode; it is left as it is.
        batches: Images, `(N, C, H, W)` each; the statistics are the means over the batches.
    """
    network = copy.deepcopy(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which stands for the mean of all batches
        norm.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return network
