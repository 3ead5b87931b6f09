"""Ways to change layers that have to be decided together, since they share a width.

Layers hang together in chains: a hidden width is what one layer gives and the next one reads. In a
chain, a layer between two full widths may be factorised; one beside a narrower width is narrowed.
All choices of a chain are too many to list. But what comes behind a layer depends on what came
before it only by the width between them: so for each width, the ways that no other way beats in
both cost and loss are all that is needed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onebyone.nn.edits import Factorise, Narrow
from onebyone.shrinking.allocate import Option, pareto
from onebyone.shrinking.changes import Change
from onebyone.shrinking.survey import HiddenGroup, Site, Survey

MOST_WAYS = 200
"""Ways that are kept for one width; where there are more, those closest to others in loss go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A layer of a chain, and the hidden width behind it.

    Attributes:
        site: The layer.
        factors: What may come in its place between full widths.
        group: The hidden width that it gives; None at the chain's end.
        widths: The widths that may be left of it, the full one first; empty at the chain's end.
    """

    site: Site
    factors: tuple[Factorise, ...] = ()
    group: HiddenGroup | None = None
    widths: tuple[int, ...] = ()


Chain = tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to change a chain.

    Attributes:
        changes: What becomes of its layers, and of the depthwise ones between them, in order.
        widths: What is left of hidden widths that become narrower, by the producer's path.
        cost: In the unit of the budget.
        loss: The estimated rise of the loss, in nats an image.
    """

    changes: tuple[Change, ...] = ()
    widths: tuple[tuple[str, int], ...] = ()
    cost: float = 0.0
    loss: float = 0.0


def find_chains(
    survey: Survey,
    factors: Mapping[str, tuple[Factorise, ...]],
    widths: Mapping[str, tuple[int, ...]],
) -> list[Chain]:
    """Return all layers that may change, in chains.

    Args:
        survey: What may change.
        factors: By the layer's path: what may come in its place.
        widths: By the producer's path: what may be left of the hidden width behind it.
    """
    sites = {site.path: site for site in survey.sites}
    behind = {group.producer: group for group in survey.groups if widths.get(group.producer)}
    consumers = {group.consumer for group in behind.values()}

    def follow(path: str) -> Iterator[Link]:
        group = behind.get(path)
        yield Link(
            site=sites[path],
            factors=factors.get(path, ()),
            group=group,
            widths=(group.channels, *widths[path]) if group else (),
        )
        if group:
            yield from follow(group.consumer)

    return [tuple(follow(path)) for path in sites if path not in consumers]


def all_changes(chains: Iterable[Chain]) -> list[Change]:
    """Return everything that may become of any layer, each once, in order."""
    found: dict[Change, None] = {}
    for chain in chains:
        before: tuple[int, ...] = (chain[0].site.in_channels,)
        for link in chain:
            after = link.widths or (link.site.out_channels,)
            for width in before:
                for wanted in after:
                    for _, changes in _steps(link, width, wanted):
                        found.update(dict.fromkeys(changes))
            before = after
    return list(found)


def ways_of(
    chain: Chain,
    cost: Mapping[Change, float],
    factor_loss: Mapping[Factorise, float],
    width_loss: Mapping[str, Mapping[int, float]],
) -> tuple[Way, ...]:
    """Return the ways to change a chain that no other way beats in both cost and loss.

    Args:
        chain: The layers.
        cost: Of everything that may become of one layer.
        factor_loss: By what comes in the place of a layer.
        width_loss: By the producer's path and what is left of the width behind it.
    """
    ways: dict[int, tuple[Way, ...]] = {chain[0].site.in_channels: (Way(),)}
    for link in chain:
        reached: dict[int, list[Way]] = {}
        for width, before in ways.items():
            for after in link.widths or (link.site.out_channels,):
                for loss, changes in _priced(link, width, after, factor_loss, width_loss):
                    price = sum(cost[change] for change in changes)
                    reached.setdefault(after, []).extend(
                        _longer(way, changes, _widths(link, after), price, loss) for way in before
                    )
        ways = {width: _unbeaten(found) for width, found in reached.items()}
    (last,) = ways.values()
    return last


def _steps(
    link: Link, before: int, after: int
) -> Iterator[tuple[Factorise | None, tuple[Change, ...]]]:
    """Give what may become of a layer between two widths, with the depthwise ones behind it."""
    site = link.site
    behind = tuple(_depthwise(one, after) for one in (link.group.depthwise if link.group else ()))
    if (before, after) != (site.in_channels, site.out_channels):
        narrow = Narrow(conv=site.path, in_channels=before, out_channels=after)
        yield None, (Change(site=site, edit=narrow), *behind)
        return
    yield None, (Change(site=site), *behind)
    for edit in link.factors:
        yield edit, (Change(site=site, edit=edit), *behind)


def _depthwise(site: Site, width: int) -> Change:
    if width == site.out_channels:
        return Change(site=site)
    return Change(site=site, edit=Narrow(conv=site.path, in_channels=width, out_channels=width))


def _priced(
    link: Link,
    before: int,
    after: int,
    factor_loss: Mapping[Factorise, float],
    width_loss: Mapping[str, Mapping[int, float]],
) -> Iterator[tuple[float, tuple[Change, ...]]]:
    is_full = not link.group or after == link.group.channels
    loss = 0.0 if is_full else width_loss[link.site.path][after]
    for edit, changes in _steps(link, before, after):
        yield loss + (factor_loss[edit] if edit else 0.0), changes


def _widths(link: Link, after: int) -> tuple[tuple[str, int], ...]:
    is_full = not link.group or after == link.group.channels
    return () if is_full else ((link.site.path, after),)


def _longer(
    way: Way,
    changes: tuple[Change, ...],
    widths: tuple[tuple[str, int], ...],
    cost: float,
    loss: float,
) -> Way:
    return Way(
        changes=(*way.changes, *changes),
        widths=(*way.widths, *widths),
        cost=way.cost + cost,
        loss=way.loss + loss,
    )


def _unbeaten(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Return the ways that no other beats, cheapest first; of very many, the most different."""
    kept = [ways[index] for index in pareto([Option(way.cost, way.loss) for way in ways])]
    kept.sort(key=lambda way: way.cost)
    if len(kept) <= MOST_WAYS:
        return tuple(kept)
    step = (len(kept) - 1) / (MOST_WAYS - 1)  # the first and the last stay
    return tuple(kept[round(index * step)] for index in range(MOST_WAYS))
