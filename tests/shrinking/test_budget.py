"""Budgets: shares above nothing and below one."""

import pytest

from onebyone.errors import ShrinkError
from onebyone.shrinking.budget import LatencyBudget, MacsBudget, parse_budget


@pytest.mark.parametrize("budget", [LatencyBudget(0.5), MacsBudget(0.25)])
def test_a_budget_is_written_as_it_is_read(budget):
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.5, float("nan"), float("inf"), "half", True, None])
@pytest.mark.parametrize("kind", [LatencyBudget, MacsBudget])
def test_other_shares_are_refused(kind, share):
    with pytest.raises(ShrinkError, match=r"^a budget is a share .* above 0 and below 1"):
        kind(share)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5", "a budget such as latency=0.5 or macs=0.5 was wanted, and '0.5' came"),
        ("speed=2", "a budget such as latency=0.5 or macs=0.5 was wanted, and 'speed=2' came"),
        ("macs", "a budget such as latency=0.5 or macs=0.5 was wanted, and 'macs' came"),
        ("macs=half", "share was to be a number, such as macs=0.5, and 'half' came"),
        ("latency=2", "above 0 and below 1, such as latency=0.5; 2.0 came"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ShrinkError, match=message):
        parse_budget(text)
