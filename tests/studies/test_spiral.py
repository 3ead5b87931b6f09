"""What a ReLU loses of a spiral, beside another least-squares solver and some geometry."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from onebyone.studies.spiral import (
    CHANNELS,
    DRAWS,
    lost_of_spiral,
    lost_share,
    lost_shares,
    spiral,
    spread,
)


@given(st.sampled_from([2, 3, 5, 15, 30]), st.integers(0, 50))
def test_another_solver_loses_as_much(channels, draw):
    points = spiral()
    features = spread(points, channels, draw=draw).relu()
    fitted = LinearRegression().fit(features.numpy(), points.numpy()).predict(features.numpy())
    left = (torch.from_numpy(fitted) - points).var(0, correction=0).sum()
    expected = left / points.var(0, correction=0).sum()
    assert lost_share(features, points) == pytest.approx(float(expected), abs=1e-9)


def test_a_spiral_goes_round_and_outwards():
    points = spiral()
    radius = points.norm(dim=1)
    assert (radius[1:] > radius[:-1]).all()
    assert float(radius[0]) == 0
    assert float(radius[-1]) == pytest.approx(1)
    torch.testing.assert_close(points[-1], torch.tensor([1.0, 0.0], dtype=torch.float64))


@given(st.integers(2, 20), st.integers(0, 50))
def test_what_is_linear_loses_nothing(channels, draw):
    points = spiral()
    assert lost_share(spread(points, channels, draw=draw), points) < 1e-20


@given(st.integers(2, 5), st.integers(0, 50))
def test_both_signs_of_each_channel_lose_nothing(channels, draw):
    """Since relu(a) - relu(-a) is a."""
    points = spiral()
    wide = spread(points, channels, draw=draw)
    assert lost_share(torch.cat([wide, -wide], dim=1).relu(), points) < 1e-20


@given(st.integers(2, 20), st.integers(0, 50))
def test_more_channels_never_lose_more(channels, draw):
    points = spiral()
    features = spread(points, channels, draw=draw).relu()
    assert lost_share(features, points) <= lost_share(features[:, :-1], points) + 1e-12


def test_channels_that_are_all_zero_lose_everything():
    points = spiral()
    assert lost_share(torch.zeros_like(points), points) == pytest.approx(1)


def test_few_channels_lose_a_third_and_many_lose_nothing():
    """The rough numbers of independent draws: a third, a fifth, a tenth or less, nothing."""
    table = lost_of_spiral()
    assert [row[0] for row in table.rows] == list(CHANNELS)
    means = [float(row[1]) for row in table.rows]
    assert means == sorted(means, reverse=True)
    assert means[:2] == pytest.approx([0.33, 0.2], abs=0.06)
    assert means[2] < 0.12
    assert max(means[3:]) < 0.001
    assert all(row[4] == 0 for row in table.rows)
    assert len(lost_shares(2)) == DRAWS


def test_the_table_is_the_same_every_time():
    assert lost_of_spiral() == lost_of_spiral()
