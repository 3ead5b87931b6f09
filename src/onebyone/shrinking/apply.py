"""From a plan to a small network: structure first, then numbers, from front to back."""

# pyright: reportImportCycles=false
# `ShrinkPlan.apply` imports this when it is called.

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onebyone.bench.measure import Watch, unwatched
from onebyone.errors import ShrinkError, located
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.changes import Change
from onebyone.shrinking.evidence import Evidence
from onebyone.shrinking.images import CalibrationSource, calibration_images
from onebyone.shrinking.moments import Moments, batched, collect_moments
from onebyone.shrinking.plan import ShrinkPlan
from onebyone.shrinking.playback import Playback, find_row
from onebyone.shrinking.record import record_edits
from onebyone.shrinking.solve import solve_layer


def folded_copy(model: nn.Module, folds: Sequence[FoldNorm]) -> nn.Module:
    """Return a copy of a network in evaluation, with batch norms folded; it computes the same."""
    network = copy.deepcopy(model).eval()
    for fold in folds:
        apply_edit(network, fold)
    return network


def restructured(folded: nn.Module, changes: Sequence[Change]) -> nn.Module:
    """Return a copy of a network with changed layers, whose new layers start at random."""
    network = copy.deepcopy(folded)
    for change in changes:
        if change.edit is not None:
            apply_edit(network, change.edit)
    return network


@torch.no_grad()
def apply_plan(
    plan: ShrinkPlan,
    model: nn.Module,
    data: CalibrationSource | None = None,
    *,
    watch: Watch = unwatched,
) -> nn.Module:
    """Return the small network of a plan; see `ShrinkPlan.apply`.

    Raises:
        ShrinkError: If the plan is of another network, or there are no images.
    """
    _check_layers(plan, model)
    original = folded_copy(model, plan.folds)
    evidence = plan.evidence if data is None else gather_evidence(original, plan, data)
    if evidence is None:
        raise ShrinkError(
            "the plan holds no images to solve its layers on; give some: plan.apply(model, data)"
        )
    small = copy.deepcopy(original)
    row, batches = find_row(original, evidence.images[:1]), batched(evidence.images)
    ours, theirs = Playback(small, batches, row), Playback(original, batches, row)
    changed = [one for one in plan.decisions if one.change.edit is not None]
    for decision in watch(changed, "solving layers"):
        with located(decision.change.site.path):
            solve_layer(ours, theirs, decision, evidence)
    record_edits(small, plan.edits)
    return small


def gather_evidence(original: nn.Module, plan: ShrinkPlan, data: CalibrationSource) -> Evidence:
    """Return what a plan's layers are solved on, from other images than it was decided on."""
    images = calibration_images(data)
    paths = [one.change.site.path for one in plan.decisions if one.change.edit is not None]
    found = collect_moments(original, paths, images)
    return evidence_of(images, found)


def evidence_of(images: Tensor, moments: Mapping[str, Moments]) -> Evidence:
    """Return images, and what of their moments layers are solved with."""
    return Evidence(
        images=images,
        gradients={path: one.gradients for path, one in moments.items()},
        positions={path: one.positions for path, one in moments.items()},
    )


def _check_layers(plan: ShrinkPlan, network: nn.Module) -> None:
    """Check that the layers that a plan speaks of are there, as it knows them."""
    modules = dict(network.named_modules())
    for decision in plan.decisions:
        site = decision.change.site
        conv = modules.get(site.path)
        if not isinstance(conv, nn.Conv2d):
            raise ShrinkError(
                f"the plan was made for another network: {site.path} is no convolution here"
            )
        wanted = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
        if conv.weight.shape != wanted:
            raise ShrinkError(
                f"the plan was made for another network: the weights of {site.path} are "
                f"{tuple(conv.weight.shape)} here, and {wanted} in the plan"
            )
