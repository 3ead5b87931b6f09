"""Means, differences and intervals, against scipy's own tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from onebyone.studies.paired import difference, estimate, exactly

values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=8)
pairs = st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=8)


@given(values)
def test_an_estimate_is_what_scipy_says(numbers):
    found = estimate(numbers)
    assert found.mean == pytest.approx(np.mean(numbers), abs=1e-9)
    assert found.error == pytest.approx(stats.sem(numbers), abs=1e-9)
    if len(set(numbers)) > 1:
        interval = stats.t.interval(0.95, len(numbers) - 1, found.mean, found.error)
        assert (found.low, found.high) == pytest.approx(interval)
    assert found.count == len(numbers)


@given(pairs)
def test_a_difference_is_the_paired_test_of_scipy(rows):
    this, that = np.array(rows, dtype=float).T
    found = difference(this.tolist(), that.tolist())
    if len({one - other for one, other in rows}) > 1:
        test = stats.ttest_rel(this, that)
        assert found.is_certain == (test.pvalue < 0.05)
        assert found.is_claimed == (abs(test.statistic) >= 2)


@given(pairs, st.lists(st.integers(-99, 99), min_size=8, max_size=8))
def test_what_seeds_have_in_common_cancels_out(rows, shifts):
    this = [one for one, _ in rows]
    that = [other for _, other in rows]
    moved = [[n + s for n, s in zip(side, shifts, strict=False)] for side in (this, that)]
    assert difference(*moved) == difference(this, that)


def test_what_is_certain_is_claimed_and_nothing_is_claimed_of_nothing():
    assert estimate([1.0, 1.0]).is_claimed  # whatever is the same for all seeds is so
    assert not estimate([0.0, 0.0]).is_claimed
    weak = estimate([0.1, 0.8, 1.2, 0.0, 0.3])  # 2.1 standard errors, of five seeds
    assert weak.is_claimed
    assert not weak.is_certain


def test_what_was_counted_has_no_error():
    assert (exactly(7.0).error, exactly(7.0).low) == (0.0, 7.0)
