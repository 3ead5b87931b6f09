"""Allocation: never over the budget, never worse for a larger one, and as good as can be."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.errors import InfeasibleBudget
from onebyone.shrinking.allocate import STEPS, Option, allocate, pareto

numbers = st.floats(0, 100, allow_subnormal=False)
lists = st.lists(
    st.lists(st.builds(Option, numbers, numbers), min_size=1, max_size=4), min_size=1, max_size=4
)


def totals(options, chosen):
    taken = [some[index] for some, index in zip(options, chosen, strict=True)]
    return sum(one.cost for one in taken), sum(one.loss for one in taken)


def least_cost(options):
    return sum(min(one.cost for one in some) for some in options)


@given(lists, st.floats(0, 1))
def test_the_budget_is_met(options, share):
    dearest = sum(max(one.cost for one in some) for some in options)
    budget = least_cost(options) + share * (dearest - least_cost(options))
    cost, _ = totals(options, allocate(options, budget))
    assert cost <= budget * (1 + 1e-9)


@given(lists, numbers, numbers)
def test_a_larger_budget_never_raises_the_loss(options, one, other):
    budgets = sorted(least_cost(options) + more for more in (one, other))
    small, large = (totals(options, allocate(options, budget))[1] for budget in budgets)
    assert large <= small * (1 + 1e-9) + 1e-9


@given(lists, numbers)
def test_no_other_choice_is_better_by_more_than_the_grid_says(options, more):
    budget = least_cost(options) + more
    loss = totals(options, allocate(options, budget))[1]
    dearest = sum(max(one.cost for one in some) for some in options)
    slack = len(options) * dearest / STEPS
    for chosen in product(*(range(len(some)) for some in options)):
        cost, other = totals(options, chosen)
        if cost <= budget - slack:
            assert loss <= other + 1e-9


def test_the_cheapest_choices_are_met_to_the_digit():
    options = [[Option(1 / 3, 5.0), Option(2.0, 0.0)]] * 3
    assert allocate(options, sum([1 / 3] * 3)) == (0, 0, 0)


def test_a_budget_below_all_is_told():
    with pytest.raises(InfeasibleBudget, match=r"^a cost of 1 was to be met, .* cost 2$"):
        allocate([[Option(2.0, 0.0), Option(3.0, 0.0)]], 1.0)


def test_choices_that_cost_nothing_need_no_budget():
    assert allocate([[Option(0.0, 3.0), Option(0.0, 1.0)]], 0.0) == (1,)


@given(st.lists(st.builds(Option, numbers, numbers), min_size=1, max_size=9))
def test_nobody_beats_what_is_kept_and_somebody_all_others(options):
    kept = pareto(options)
    for index, one in enumerate(options):
        beaten = [o for o in options if o.cost <= one.cost and o.loss <= one.loss and o != one]
        assert (index in kept) <= (not beaten)
        assert index in kept or beaten or one in [options[other] for other in kept]
