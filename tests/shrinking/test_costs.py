"""What everything costs, and the best that a budget buys."""

import pytest

from onebyone.errors import InfeasibleBudget
from onebyone.nn.edits import Factorise
from onebyone.shrinking.changes import Change
from onebyone.shrinking.costs import Costs, fill_knapsack, macs_costs
from onebyone.shrinking.judge import Judgement
from onebyone.shrinking.proposals import all_changes, find_chains
from onebyone.shrinking.survey import Survey
from tests.shrinking.networks import site

SITES = (site("a", (16, 16)), site("b", (16, 16)))
LOSSES = {8: 0.1, 4: 0.4}


def make_knapsack(whole=10_000_000):
    """Two layers of which each may have two ranks; the first matters more."""
    found = Survey(
        sites=SITES, groups=(), folds=(), left_alone={}, unproven={}, order=("a", "b"), macs=whole
    )
    factors = {
        one.path: tuple(Factorise(conv=one.path, form="expand", ranks=(rank,)) for rank in LOSSES)
        for one in SITES
    }
    weight = {"a": 10, "b": 1}
    judgement = Judgement(
        factors=factors,
        factor_loss={
            edit: weight[edit.conv] * LOSSES[edit.ranks[0]]
            for edits in factors.values()
            for edit in edits
        },
        widths={},
        width_loss={},
        eliminations={},
    )
    chains = find_chains(found, judgement.factors, judgement.widths)
    return fill_knapsack(chains, macs_costs(whole, all_changes(chains)), judgement)


def test_what_matters_least_goes_first():
    knapsack = make_knapsack()
    (only,) = [way for way in knapsack.choose(knapsack.whole - 1) if way.loss]
    assert only.changes[0].site.path == "b"
    assert only.loss == pytest.approx(LOSSES[8])


@pytest.mark.parametrize("share", [1.0, 0.99, 0.98])
def test_a_budget_is_kept(share):
    knapsack = make_knapsack()
    budget = max(share * knapsack.whole, knapsack.smallest)
    chosen = knapsack.choose(budget)
    saved = sum(change.as_it_was.macs - change.macs for way in chosen for change in way.changes)
    assert knapsack.cost(chosen) == pytest.approx(knapsack.whole - saved)
    assert knapsack.cost(chosen) <= budget


def test_less_than_the_cheapest_network_is_refused_and_told():
    knapsack = make_knapsack()
    share = knapsack.smallest / knapsack.whole
    with pytest.raises(InfeasibleBudget, match=f"{share:.3f}"):
        knapsack.choose(0.999 * knapsack.smallest)


def test_what_cannot_change_is_paid_for():
    changes = [Change(site=one) for one in SITES]
    costs = Costs(whole=10.0, of=dict.fromkeys(changes, 2.0))
    assert costs.fixed(costs.of) == pytest.approx(6.0)
