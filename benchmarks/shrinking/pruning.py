"""Channel pruning as others do it: Torch-Pruning, and GRAIL's compensation.

pip install torch-pruning==1.6.1
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onebyone.errors import InfeasibleBudget
from onebyone.explainer import count_cost
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Narrow
from onebyone.shrinking.hidden import HiddenGroup
from onebyone.shrinking.moments import Moments
from shrinking.networks import chosen_accuracy, labelled
from shrinking.subject import Subject

ROUND_TO = 8
"""Channels are multiples of this, as ours are."""

HALVINGS = 14
"""Steps of the search for the ratio that meets the budget."""

RIDGE = 1e-2
"""GRAIL's, as a share of the mean of the Gram matrix's diagonal."""


def macs_of(network: nn.Module) -> int:
    """Return the multiply-adds for one image."""
    return count_cost(network, (1, 1, 28, 28)).macs


def torch_pruned(subject: Subject, importance: str, share: float) -> nn.Module:
    """Return the network pruned by Torch-Pruning, batch norms recalibrated.

    Ranked over all layers or in each of them by itself: whichever is better on the images that
    choose.

    Args:
        subject: What is pruned.
        importance: "l2", or "taylor", which sees the labels of the images.
        share: Of the multiply-adds, that may be left.

    Raises:
        InfeasibleBudget: If no ratio goes as far.
    """
    wanted = share * macs_of(subject.network)
    gradients = _gradients(subject) if importance == "taylor" else {}
    found = [
        _nearest(lambda ratio, how=how: _prune(subject, importance, gradients, ratio, how), wanted)
        for how in (False, True)
    ]
    small = [_recalibrated(network, subject.images) for network in found if network is not None]
    if not small:
        raise InfeasibleBudget(f"Torch-Pruning cannot reach {share} of the multiply-adds")
    return max(small, key=chosen_accuracy)


def _prune(
    subject: Subject, importance: str, gradients: dict[str, Tensor], ratio: float, is_global: bool
) -> nn.Module:
    import torch_pruning

    network = copy.deepcopy(subject.network)
    for name, parameter in network.named_parameters():
        parameter.grad = gradients.get(name)
    kinds = torch_pruning.importance
    rank = kinds.GroupTaylorImportance() if gradients else kinds.GroupMagnitudeImportance(p=2)
    assert bool(gradients) == (importance == "taylor")
    torch_pruning.pruner.BasePruner(
        network,
        subject.images[:1],
        importance=rank,
        global_pruning=is_global,
        pruning_ratio=ratio,
        max_pruning_ratio=0.9 if is_global else 1.0,
        round_to=ROUND_TO,
        ignored_layers=[one for one in network.modules() if isinstance(one, nn.Linear)],
    ).step()
    network.zero_grad(set_to_none=True)
    return network


def _gradients(subject: Subject) -> dict[str, Tensor]:
    network = copy.deepcopy(subject.network).eval()
    images, labels = labelled(len(subject.images), seed=subject.seed)
    for some, right in zip(images.split(128), labels.split(128), strict=True):
        F.cross_entropy(network(some), right).backward()
    return {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


@torch.no_grad()
def _recalibrated(network: nn.Module, images: Tensor) -> nn.Module:
    """Let batch norms see what they get now: plain means over the images."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for some in images.split(128):
        network(some)
    return network.eval()


def _nearest(make: Callable[[float], nn.Module], wanted: float) -> nn.Module | None:
    """Return the largest network of those that a ratio gives, within what is wanted."""
    low, high, best = 0.0, 1.0, None
    for _ in range(HALVINGS):
        ratio = (low + high) / 2
        try:
            network = make(ratio)
            macs = macs_of(network)
        except Exception:
            high = ratio
            continue
        if macs > wanted:
            low = ratio
        else:
            high = ratio
            if best is None or macs > macs_of(best):
                best = network
    return best


@torch.no_grad()
def grail(subject: Subject, share: float) -> nn.Module:
    """Return the network with hidden widths narrowed by magnitude, and readers that make up for it.

    What GRAIL does (arXiv 2602.23795), written anew: all hidden widths keep the same share of their
    channels, those of the largest weights; the reader's weights are multiplied by the ridge
    regression of all channels on those that are left, from their uncentred Gram matrix.

    Raises:
        InfeasibleBudget: If hidden widths alone do not go as far.
    """
    wanted = share * macs_of(subject.network)
    found = _nearest(lambda ratio: _grail(subject, 1 - ratio), wanted)
    if found is None:
        raise InfeasibleBudget(f"hidden widths cannot reach {share} of the multiply-adds")
    return found


def _grail(subject: Subject, left: float) -> nn.Module:
    original = subject.prepared.original
    network = copy.deepcopy(original)
    for group in subject.prepared.found.groups:
        count = max(ROUND_TO, round(group.channels * left / ROUND_TO) * ROUND_TO)
        if count >= group.channels:
            continue
        norms = _conv(original, group.producer).weight.flatten(1).norm(dim=1)
        kept = norms.topk(count).indices.sort().values
        _narrow_group(network, group, kept, subject.moments[group.consumer])
    return network


def _narrow_group(network: nn.Module, group: HiddenGroup, kept: Tensor, moments: Moments) -> None:
    for path in (group.producer, *(site.path for site in group.depthwise)):
        _cut(network, path, rows=kept)
    conv = _conv(network, group.consumer)
    gram = _channel_gram(moments, conv.in_channels)
    block = gram[kept][:, kept]
    block = block + RIDGE * block.diagonal().mean() * torch.eye(len(kept), dtype=gram.dtype)
    made_of = torch.linalg.solve(block, gram[kept]).T.float()  # (C, kept)
    weight = torch.einsum("ochw,ck->okhw", conv.weight, made_of)
    apply_edit(
        network,
        Narrow(conv=group.consumer, in_channels=len(kept), out_channels=conv.out_channels),
    )
    _write(_conv(network, group.consumer), weight, conv.bias)


def _channel_gram(moments: Moments, channels: int) -> Tensor:
    """Return the uncentred second moment of channels, the mean over a patch's places."""
    second = moments.covariance + torch.outer(moments.mean, moments.mean)
    taps = len(second) // channels
    return second.reshape(channels, taps, channels, taps).diagonal(dim1=1, dim2=3).mean(-1)


def _cut(network: nn.Module, path: str, *, rows: Tensor) -> None:
    conv = _conv(network, path)
    reads = len(rows) if conv.groups > 1 else conv.in_channels
    bias = None if conv.bias is None else conv.bias[rows]
    apply_edit(network, Narrow(conv=path, in_channels=reads, out_channels=len(rows)))
    _write(_conv(network, path), conv.weight[rows], bias)


def _write(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    conv.weight.copy_(weight)
    if conv.bias is not None and bias is not None:
        conv.bias.copy_(bias)


def _conv(network: nn.Module, path: str) -> nn.Conv2d:
    conv = network.get_submodule(path)
    assert isinstance(conv, nn.Conv2d)
    return conv
