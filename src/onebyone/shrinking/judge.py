"""What every change of a layer would cost in quality, from closed forms."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from onebyone.bench.measure import Watch, unwatched
from onebyone.errors import located
from onebyone.nn.edits import Factorise
from onebyone.shrinking.factors import Spectrum
from onebyone.shrinking.moments import Moments
from onebyone.shrinking.narrow import Elimination, eliminate
from onebyone.shrinking.ranks import Offer
from onebyone.shrinking.survey import HiddenGroup, Site, Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What may be done to layers and to hidden widths, and how much the loss should rise by it.

    Attributes:
        factors: By the layer's path: what may come in its place.
        factor_loss: By that.
        widths: By the producer's path: what may be left of the hidden width behind it.
        width_loss: By that path and that number.
        eliminations: By that path: the order in which channels go.
    """

    factors: Mapping[str, tuple[Factorise, ...]]
    factor_loss: Mapping[Factorise, float]
    widths: Mapping[str, tuple[int, ...]]
    width_loss: Mapping[str, Mapping[int, float]]
    eliminations: Mapping[str, Elimination]

    def kept(self, producer: str, width: int) -> tuple[int, ...]:
        """Return which channels of a hidden width are left, in order."""
        return self.eliminations[producer].kept(width)


def judge(
    network: nn.Module,
    survey: Survey,
    moments: Mapping[str, Moments],
    offer: Offer,
    *,
    watch: Watch = unwatched,
) -> Judgement:
    """Return what may be done to each layer, and what it would cost in quality.

    Args:
        network: With batch norms folded.
        survey: What may change in it.
        moments: Of each layer that may change.
        offer: Which ranks and widths are tried.
        watch: Shows a person how far it has come.
    """
    factors: dict[str, tuple[Factorise, ...]] = {}
    factor_loss: dict[Factorise, float] = {}
    for site in watch(survey.sites, "weighing layers"):
        with located(site.path):
            found = _factor_losses(network, site, moments[site.path], offer)
        factors[site.path] = tuple(found)
        factor_loss |= found
    eliminations: dict[str, Elimination] = {}
    for group in watch(survey.groups, "weighing channels"):
        with located(group.producer):
            weight = _conv(network, group.consumer).weight
            eliminations[group.producer] = eliminate(weight, moments[group.consumer])
    widths = {group.producer: offer.widths(group.channels) for group in survey.groups}
    return Judgement(
        factors=factors,
        factor_loss=factor_loss,
        widths=widths,
        width_loss={
            group.producer: _width_losses(group, widths, eliminations) for group in survey.groups
        },
        eliminations=eliminations,
    )


def _factor_losses(
    network: nn.Module, site: Site, moments: Moments, offer: Offer
) -> dict[Factorise, float]:
    offered = offer.factors(site)
    if not offered:
        return {}
    spectrum = Spectrum(_conv(network, site.path).weight, moments)
    return {edit: spectrum.loss(edit.form, edit.ranks) for edit in offered}


def _width_losses(
    group: HiddenGroup,
    widths: Mapping[str, tuple[int, ...]],
    eliminations: Mapping[str, Elimination],
) -> dict[int, float]:
    losses = eliminations[group.producer].losses
    return {width: losses[group.channels - width] for width in widths[group.producer]}


def _conv(network: nn.Module, path: str) -> nn.Conv2d:
    conv = network.get_submodule(path)
    assert isinstance(conv, nn.Conv2d)
    return conv
