"""Chains of layers: the ways kept are those that nothing beats, among all there are."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.nn.edits import Factorise, Narrow
from onebyone.shrinking.changes import Change
from onebyone.shrinking.proposals import Link, Way, all_changes, find_chains, ways_of
from onebyone.shrinking.survey import HiddenGroup, Survey
from tests.shrinking.networks import site

FIRST, SECOND, THIRD = site("a", (64, 32), 1), site("b", (32, 32)), site("c", (32, 64), 1)
BEHIND_A = HiddenGroup(producer="a", depthwise=(), consumer="b", channels=32)
BEHIND_B = HiddenGroup(producer="b", depthwise=(), consumer="c", channels=32)
FACTORS = {
    "a": (Factorise(conv="a", form="expand", ranks=(8,)),),
    "b": (
        Factorise(conv="b", form="reduce", ranks=(8,)),
        Factorise(conv="b", form="bottleneck", ranks=(8, 16)),
    ),
    "c": (),
}
WIDTHS = {"a": (24, 16), "b": (16,)}


def survey_of(*sites, groups=()):
    return Survey(
        folds=(),
        sites=sites,
        groups=groups,
        left_alone={},
        unproven={},
        order=(),
        macs=sum(one.macs for one in sites),
    )


@pytest.fixture
def chain():
    survey = survey_of(FIRST, SECOND, THIRD, groups=(BEHIND_A, BEHIND_B))
    (found,) = find_chains(survey, FACTORS, WIDTHS)
    return found


def test_layers_with_a_width_between_them_are_one_chain(chain):
    assert [link.site.path for link in chain] == ["a", "b", "c"]
    assert [link.widths for link in chain] == [(32, 24, 16), (32, 16), ()]


def test_layers_without_one_are_chains_of_their_own():
    chains = find_chains(survey_of(FIRST, SECOND), FACTORS, {})
    assert [[link.site.path for link in chain] for chain in chains] == [["a"], ["b"]]


def test_all_changes_are_each_once_and_hold_the_layers_as_they_are(chain):
    changes = all_changes([chain])
    assert len(set(changes)) == len(changes)
    assert {change.site.path for change in changes if change.edit is None} == {"a", "b", "c"}
    narrowed = [change for change in changes if isinstance(change.edit, Narrow)]
    # a gives 24 or 16; b reads and gives any but both in full; c reads 16
    assert len(narrowed) == 2 + (3 * 2 - 1) + 1


def every_way(chain, cost, factor_loss, width_loss):
    """All ways to change a chain, one by one."""
    for widths in product(*(link.widths or (link.site.out_channels,) for link in chain)):
        before = (chain[0].site.in_channels, *widths)
        loss = sum(
            width_loss[link.site.path][after]
            for link, after in zip(chain, widths, strict=True)
            if after != link.site.out_channels
        )
        choices = []
        for link, reads, gives in zip(chain, before, widths, strict=False):
            path = link.site.path
            if (reads, gives) == (link.site.in_channels, link.site.out_channels):
                choices.append((None, *link.factors))
            else:
                choices.append((Narrow(conv=path, in_channels=reads, out_channels=gives),))
        for edits in product(*choices):
            changes = [Change(site=link.site, edit=e) for link, e in zip(chain, edits, strict=True)]
            factors = [edit for edit in edits if isinstance(edit, Factorise)]
            total = loss + sum(factor_loss[edit] for edit in factors)
            yield sum(cost[change] for change in changes), total


prices = st.lists(st.integers(1, 50), min_size=40, max_size=40)


@given(prices, prices)
def test_ways_are_those_that_no_other_beats(costs, losses):
    survey = survey_of(FIRST, SECOND, THIRD, groups=(BEHIND_A, BEHIND_B))
    (chain,) = find_chains(survey, FACTORS, WIDTHS)
    cost = dict(zip(all_changes([chain]), costs, strict=False))
    some = iter(losses)
    factor_loss = {edit: next(some) for found in FACTORS.values() for edit in found}
    width_loss = {path: {width: next(some) for width in widths} for path, widths in WIDTHS.items()}
    ways = ways_of(chain, cost, factor_loss, width_loss)
    everything = set(every_way(chain, cost, factor_loss, width_loss))
    unbeaten = {
        one
        for one in everything
        if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in everything)
    }
    assert {(way.cost, way.loss) for way in ways} == unbeaten


def test_a_way_says_what_it_changes(chain):
    changes = all_changes([chain])
    cost = {change: float(change.macs) for change in changes}
    factor_loss = {edit: 1.0 for found in FACTORS.values() for edit in found}
    width_loss = {"a": {24: 0.1, 16: 0.2}, "b": {16: 0.3}}
    ways = ways_of(chain, cost, factor_loss, width_loss)
    untouched = next(way for way in ways if not way.loss)
    assert untouched.widths == ()
    assert all(change.edit is None for change in untouched.changes)
    narrowest = ways[0]
    assert dict(narrowest.widths) == {"a": 16, "b": 16}
    assert [(one.in_channels, one.out_channels) for one in narrowest.changes] == [
        (64, 16),
        (16, 16),
        (16, 64),
    ]


def test_depthwise_layers_between_become_narrower_as_well():
    between = site("d", (32, 32), groups=32)
    group = HiddenGroup(producer="a", depthwise=(between,), consumer="c", channels=32)
    (chain,) = find_chains(survey_of(FIRST, THIRD, groups=(group,)), {}, {"a": (16,)})
    (narrow,) = [one for one in all_changes([chain]) if one.site is between and one.edit]
    assert narrow.edit == Narrow(conv="d", in_channels=16, out_channels=16)
    assert narrow.macs * 2 == between.macs


def test_of_very_many_ways_the_cheapest_and_the_best_stay(monkeypatch):
    from onebyone.shrinking import proposals

    monkeypatch.setattr(proposals, "MOST_WAYS", 3)
    edits = tuple(Factorise(conv="b", form="reduce", ranks=(rank,)) for rank in range(1, 9))
    chain = (Link(site=SECOND, factors=edits),)
    cost = {change: float(change.macs) for change in all_changes([chain])}
    ways = ways_of(chain, cost, {edit: 9.0 - edit.ranks[0] for edit in edits}, {})
    assert len(ways) == 3
    assert ways[0].loss == 8.0
    assert ways[-1] == Way(changes=(Change(site=SECOND),), cost=float(SECOND.macs))
