"""All ways to a smaller network that are compared, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from onebyone.nn.edit_network import apply_edit
from onebyone.shrinking.budget import MacsBudget
from onebyone.shrinking.distil import tune
from shrinking.factorings import BALF_OBJECTIVE, PLAIN_SVD, PLAIN_TUCKER, factorised
from shrinking.networks import build, read_parts, train
from shrinking.pruning import grail, torch_pruned
from shrinking.subject import Subject

SHARES = (0.9, 0.75, 0.6, 0.45, 0.25, 0.18)
"""Of the multiply-adds, that networks are made for."""

TUNED_SHARES = (0.6, 0.45, 0.25)
"""For which they also learn from the original."""

SCRATCH_SHARES = (0.25,)
"""For which ours is also trained from a random start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to a smaller network.

    Attributes:
        title: What tables call it.
        make: From a subject and a share of its multiply-adds.
    """

    title: str
    make: Callable[[Subject, float], nn.Module]


def ours(subject: Subject, share: float) -> nn.Module:
    """Return what `onebyone shrink` makes for a budget of multiply-adds."""
    return subject.prepared.plan(MacsBudget(share)).apply(subject.network)


METHODS: Mapping[str, Method] = {
    "ours": Method(title="OneByOne", make=ours),
    "svd": Method(title="plain SVD", make=lambda it, to: factorised(it, PLAIN_SVD, to)),
    "tucker": Method(title="plain Tucker", make=lambda it, to: factorised(it, PLAIN_TUCKER, to)),
    "balf": Method(
        title="BALF's objective", make=lambda it, to: factorised(it, BALF_OBJECTIVE, to)
    ),
    "grail": Method(title="GRAIL", make=grail),
    "l2": Method(title="Torch-Pruning L2", make=lambda it, to: torch_pruned(it, "l2", to)),
    "taylor": Method(
        title="Torch-Pruning Taylor", make=lambda it, to: torch_pruned(it, "taylor", to)
    ),
}

LEARNERS = ("ours", "l2", "taylor")
"""Whose networks also learn from the original, for one epoch."""


def distilled(subject: Subject, small: nn.Module, out: Path) -> nn.Module:
    """Return a small network after an epoch of learning from the original, if that helped.

    Raises:
        SystemExit: If a signal asked for the end.
    """
    found = tune(small, subject.network, read_parts()[0], out=out, seed=subject.seed)
    if found.signal:
        raise SystemExit(128 + found.signal)
    return found.network


def from_scratch(subject: Subject, share: float, out: Path) -> nn.Module:
    """Return ours of a share, trained from a random start just as the original was."""
    plan = subject.prepared.plan(MacsBudget(share))
    torch.manual_seed(subject.seed)
    network = build(subject.name)
    norms = {fold.conv: fold for fold in plan.folds}
    for decision in plan.decisions:
        change = decision.change
        if change.edit is None:
            continue
        apply_edit(network, change.edit)
        if fold := norms.get(change.site.path):
            network.set_submodule(fold.norm, nn.BatchNorm2d(change.out_channels))
    return train(network, out, seed=subject.seed)
