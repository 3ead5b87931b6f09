"""The numbers of one changed layer, from what the small network gives it to read.

Layers are solved from front to back. The layers before one have changed what it reads; so its
weights are found anew, as those that bring it closest to what the original gives there (Zhang et
al., arXiv 1505.06798; He et al., arXiv 1707.06168; with channels folded into their reader as in
GRAIL, arXiv 2602.23795), and only then factorised.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Factorise
from onebyone.shrinking.evidence import Evidence
from onebyone.shrinking.factors import factorise, regress
from onebyone.shrinking.moments import Moments, Pairs, collect_pairs
from onebyone.shrinking.plan import Decision
from onebyone.shrinking.playback import Playback


@torch.no_grad()
def solve_layer(
    small: Playback, original: Playback, decision: Decision, evidence: Evidence
) -> None:
    """Change one layer of a network in place, structure and numbers.

    Args:
        small: The network whose layers before this one are changed already.
        original: What the small network is to do.
        decision: What becomes of the layer.
        evidence: What it is solved on.
    """
    site, edit = decision.change.site, decision.change.edit
    assert edit is not None
    conv, network = original.convolution(site.path), small.network
    if site.groups > 1:
        apply_edit(network, edit)
        _keep_rows(
            network.get_submodule(site.path), conv, _numbers(decision.kept_out, site.out_channels)
        )
        return
    reads = _numbers(decision.kept_in, site.in_channels)
    gives = _numbers(decision.kept_out, site.out_channels)
    pairs = collect_pairs(small, original, site.path)
    weight, bias = regress(_rows(pairs, gives), conv.weight[gives][:, reads])
    apply_edit(network, edit)
    place = network.get_submodule(site.path)
    if not isinstance(edit, Factorise):
        _write(place, weight, bias)
        return
    moments = Moments(
        mean=pairs.mean,
        covariance=pairs.covariance,
        gradients=evidence.gradients[site.path],
        positions=evidence.positions[site.path],
        count=pairs.count,
    )
    factors = factorise(weight, bias, moments, edit.form, edit.ranks)
    assert isinstance(place, nn.Sequential)
    biases = [None] * (len(factors.weights) - 1) + [factors.bias]
    for layer, one, shift in zip(place, factors.weights, biases, strict=True):
        _write(layer, one, shift)


def _numbers(kept: tuple[int, ...] | None, channels: int) -> Tensor:
    return torch.tensor(kept) if kept is not None else torch.arange(channels)


def _rows(pairs: Pairs, gives: Tensor) -> Pairs:
    """Look only at some of the channels that the original gives."""
    return replace(pairs, cross=pairs.cross[gives], mean_out=pairs.mean_out[gives])


def _keep_rows(place: nn.Module, conv: nn.Conv2d, rows: Tensor) -> None:
    """Give a narrower depthwise convolution the rows that are left."""
    bias = None if conv.bias is None else conv.bias[rows]
    _write(place, conv.weight[rows], bias)


def _write(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    assert isinstance(layer, nn.Conv2d)
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    if bias is not None:
        if layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_empty(layer.out_channels))
        layer.bias.copy_(bias)
