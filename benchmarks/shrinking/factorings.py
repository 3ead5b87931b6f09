"""Low-rank factorisations as others make them: the same structures, chosen and solved otherwise.

They get what can be had for them: ranks that are as finely aligned as ours, and the exact choice of
ranks under the budget. What they do not have is what makes the difference: the loss's own view of
outputs, centred statistics with a bias that makes up for the mean, hidden widths, and layers that
are solved on what the small network gives them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Factorise, Form
from onebyone.shrinking.apply import restructured
from onebyone.shrinking.costs import fill_knapsack, macs_costs
from onebyone.shrinking.factors import Factors, Spectrum, factorise
from onebyone.shrinking.judge import Judgement
from onebyone.shrinking.moments import Moments
from onebyone.shrinking.proposals import all_changes, find_chains
from onebyone.shrinking.ranks import make_offer
from shrinking.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a factorisation is to keep.

    Attributes:
        forms: What may come in the place of a layer.
        sees_inputs: Whether it keeps the outputs on the images, rather than the weights.
    """

    forms: tuple[Form, ...]
    sees_inputs: bool = False


PLAIN_SVD = Objective(forms=("expand",))
"""The singular values of `weight.flatten(1)`: k x k and 1x1."""

PLAIN_TUCKER = Objective(forms=("reduce", "expand", "bottleneck"))
"""A Tucker decomposition of the weights in both channels (Kim et al., arXiv 1511.06530)."""

BALF_OBJECTIVE = Objective(forms=("expand",), sees_inputs=True)
"""What BALF optimises (arXiv 2509.25136), written anew: whitened by the uncentred second moment of
what a layer reads, each layer's energy a share of its own, k x k and 1x1."""


@torch.no_grad()
def factorised(subject: Subject, objective: Objective, share: float) -> nn.Module:
    """Return the network, factorised to a share of its multiply-adds.

    Raises:
        InfeasibleBudget: If the forms do not go as far.
    """
    prepared = subject.prepared
    seen = {path: _as_seen(found, objective) for path, found in subject.moments.items()}
    judgement = _judge(subject, objective, seen)
    chains = find_chains(prepared.found, judgement.factors, judgement.widths)
    costs = macs_costs(prepared.found.macs, all_changes(chains))
    chosen = fill_knapsack(chains, costs, judgement).choose(share * costs.whole)
    small = restructured(prepared.original, ())
    for way in chosen:
        for change in way.changes:
            if isinstance(change.edit, Factorise):
                _put(small, change.edit, seen[change.site.path])
    return small


def _as_seen(moments: Moments, objective: Objective) -> Moments:
    size, outputs = len(moments.mean), len(moments.gradients)
    uncentred = moments.covariance + torch.outer(moments.mean, moments.mean)
    return replace(
        moments,
        mean=torch.zeros_like(moments.mean),  # so that no bias makes up for it
        covariance=uncentred if objective.sees_inputs else torch.eye(size, dtype=torch.float64),
        gradients=torch.eye(outputs, dtype=torch.float64),
        positions=1,
    )


def _judge(subject: Subject, objective: Objective, seen: Mapping[str, Moments]) -> Judgement:
    """Say what each factorisation loses, as a share of the layer's own energy."""
    offer = make_offer("auto", "compiled")
    factors: dict[str, tuple[Factorise, ...]] = {}
    losses: dict[Factorise, float] = {}
    for site in subject.prepared.found.sites:
        conv = subject.prepared.original.get_submodule(site.path)
        assert isinstance(conv, nn.Conv2d)
        spectrum = Spectrum(conv.weight, seen[site.path])
        whole = spectrum.loss("expand", (0,))
        offered = [edit for edit in offer.factors(site) if edit.form in objective.forms]
        factors[site.path] = tuple(offered)
        losses |= {edit: spectrum.loss(edit.form, edit.ranks) / whole for edit in offered}
    return Judgement(factors=factors, factor_loss=losses, widths={}, width_loss={}, eliminations={})


def _put(network: nn.Module, edit: Factorise, moments: Moments) -> None:
    """Put the factors in the place of a layer."""
    conv = network.get_submodule(edit.conv)
    assert isinstance(conv, nn.Conv2d)
    found: Factors = factorise(conv.weight, conv.bias, moments, edit.form, edit.ranks)
    apply_edit(network, edit)
    place = network.get_submodule(edit.conv)
    assert isinstance(place, nn.Sequential)
    for layer, weight in zip(place, found.weights, strict=True):
        assert isinstance(layer, nn.Conv2d)
        layer.weight.copy_(weight)
    last = place[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.bias.copy_(found.bias)
