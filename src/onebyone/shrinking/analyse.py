"""Where 1x1s would pay in a network, and how little of it could be left: no data, some seconds."""

# pyright: reportImportCycles=false
# `ShrinkAnalysis.__str__` imports its text when it is called.

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from onebyone.nn.edits import Factorise
from onebyone.packages import require
from onebyone.shrinking.apply import folded_copy
from onebyone.shrinking.changes import Change
from onebyone.shrinking.costs import fill_knapsack, macs_costs
from onebyone.shrinking.judge import Judgement
from onebyone.shrinking.proposals import all_changes, find_chains
from onebyone.shrinking.ranks import Align, Offer, make_offer
from onebyone.shrinking.survey import Site, Survey, survey

HELD = 0.95
"""Share of a layer's weights, by their squares, that is asked after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is to be had of one layer.

    Attributes:
        path: Where it is.
        words: What it is, such as "3x3 64→64".
        macs: Multiply-adds for one image.
        pays_below: With fewer channels than this between them, the layer and a 1x1 in front of it
            take fewer multiply-adds than the layer alone.
        held_in: Mixtures of its input channels that 95 % of its weights lie in, by their squares;
            None if the weights are a random start. Fewer than `pays_below`: a 1x1 in front would
            lose little, and pay.
        group: Whether the width between it and the next layer may become smaller as well.
    """

    path: str
    words: str
    macs: int
    pays_below: int
    held_in: int | None
    group: bool

    @property
    def pays(self) -> bool:
        """Whether a 1x1 that holds 95 % of the weights saves a tenth of the multiply-adds."""
        return self.held_in is not None and self.held_in < 0.9 * self.pays_below


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkAnalysis:
    """Where 1x1s would pay in a network.

    Attributes:
        model: What people call it.
        macs: Multiply-adds for one image.
        smallest_share: Share of them that the cheapest network has left that `plan_shrink` could
            make: no budget below it can be met.
        prospects: Layers that may change, those with the most multiply-adds first.
        left_alone: Why other layers stay as they are, by path.
        unproven: Why a hidden width stays as it is, by the path of the layer that gives it.
    """

    model: str
    macs: int
    smallest_share: float
    prospects: tuple[Prospect, ...]
    left_alone: Mapping[str, str]
    unproven: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """Show a table.

        Raises:
            MissingPackageError: If Rich, which draws it, is not installed.
        """
        require("a table of where 1x1s pay", "rich")
        from onebyone.shrinking.analysis_text import analysis_to_text

        return analysis_to_text(self)


def analyse_shrink(
    model: nn.Module,
    example: Tensor,
    *,
    runtime: str = "compiled",
    align: Align = "auto",
    keep: Collection[str] = (),
    name: str | None = None,
    is_trained: bool = True,
) -> ShrinkAnalysis:
    """Say where 1x1s would pay in a network, and how little could be left of it.

    It looks at sizes and weights alone: what it says of quality is a hint. `plan_shrink` looks at
    images, and measures.

    Args:
        model: The network; it is left as it is.
        example: What it reads, `(N, C, H, W)`.
        runtime: As for `plan_shrink`.
        align: As for `plan_shrink`.
        keep: As for `plan_shrink`.
        name: What people call the network.
        is_trained: Whether its weights are worth a look.

    Raises:
        ShrinkError: If the network does not run on the example.
    """
    original = folded_copy(model, survey(model, example, keep).folds)
    found = survey(original, example, keep)
    offer = make_offer(align, runtime)
    grouped = {group.producer for group in found.groups}
    prospects = [
        _prospect(site, _conv(original, site), grouped=site.path in grouped, is_trained=is_trained)
        for site in found.sites
    ]
    return ShrinkAnalysis(
        model=name or type(model).__name__,
        macs=found.macs,
        smallest_share=_smallest(found, offer) / found.macs,
        prospects=tuple(sorted(prospects, key=lambda one: -one.macs)),
        left_alone=found.left_alone,
        unproven=found.unproven,
    )


def _prospect(site: Site, conv: nn.Conv2d, *, grouped: bool, is_trained: bool) -> Prospect:
    pair = Change(site=site, edit=Factorise(conv=site.path, form="reduce", ranks=(1,)))
    return Prospect(
        path=site.path,
        words=pair.as_it_was.words,
        macs=site.macs,
        pays_below=-(-site.macs // pair.macs),  # the pair's cost grows with the rank
        held_in=_channels_holding(conv.weight, HELD) if is_trained else None,
        group=grouped,
    )


@torch.no_grad()
def _channels_holding(weight: Tensor, share: float) -> int:
    """Return how many mixtures of input channels hold a share of the weights' squares."""
    unfolded = weight.transpose(0, 1).flatten(1).double()
    energy = torch.linalg.eigvalsh(unfolded @ unfolded.T).clamp_min(0).flip(0).cumsum(0)
    return int((energy < share * energy[-1]).sum()) + 1


def _smallest(found: Survey, offer: Offer) -> float:
    """Return the multiply-adds of the cheapest network, whatever it would lose."""
    factors = {site.path: offer.factors(site) for site in found.sites}
    widths = {group.producer: offer.widths(group.channels) for group in found.groups}
    lossless = Judgement(
        factors=factors,
        factor_loss=defaultdict(float),
        widths=widths,
        width_loss=defaultdict(lambda: defaultdict(float)),
        eliminations={},
    )
    chains = find_chains(found, factors, widths)
    costs = macs_costs(found.macs, all_changes(chains))
    return fill_knapsack(chains, costs, lossless).smallest


def _conv(network: nn.Module, site: Site) -> nn.Conv2d:
    conv = network.get_submodule(site.path)
    assert isinstance(conv, nn.Conv2d)
    return conv
