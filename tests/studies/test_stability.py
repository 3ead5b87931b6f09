"""The ladder of learning rates."""

import copy
from dataclasses import replace
from math import inf

import pytest
import torch
from torch import nn

from onebyone.studies import stability
from onebyone.studies.stability import Ladder, greatest_stable_rate
from onebyone.training.recipe import Recipe
from tests.training.small import SmallNet, small_data

RECIPE = Recipe(epochs=1, batch_size=32, learning_rate=0.01, weight_decay=0.0)
LADDER = Ladder(recipe=RECIPE, rungs=5, steps=8, judged=3)


class Scaled(nn.Module):
    """A linear layer that starts with zeros, and whose scores are multiplied."""

    def __init__(self, factor):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(64, 4))
        self.factor = factor

    def forward(self, x):
        return self.factor * (x.flatten(1) @ self.weight)


def stable(network, ladder=LADDER, seed=0):
    torch.manual_seed(seed)
    return greatest_stable_rate(network, small_data(), ladder)


def test_a_network_that_is_twice_as_steep_bears_a_quarter():
    """Scores move by the rate times the square of the factor."""
    data = small_data()
    order = torch.randperm(96, generator=torch.Generator().manual_seed(0))
    data.train.targets = data.train.targets[order]  # no rule: the loss only grows with the scores
    ladder = replace(LADDER, rungs=40, below=1.5, recipe=replace(RECIPE, learning_rate=2.0**-12))
    rates = []
    for factor in (1.0, 2.0, 4.0):
        torch.manual_seed(0)
        rates.append(greatest_stable_rate(Scaled(factor), data, ladder))
    assert 2.0**-12 < rates[0] < 2.0**27
    assert rates == [rates[0], rates[0] / 4, rates[0] / 16]


@pytest.mark.parametrize(("below", "expected"), [(0.0, 0.005), (inf, 0.16)])
def test_the_ladder_ends_on_both_sides(below, expected):
    assert stable(SmallNet(), replace(LADDER, below=below)) == pytest.approx(expected)


def test_a_loss_that_is_no_number_is_not_borne():
    ladder = replace(LADDER, below=1e6, rungs=60)
    rate = stable(SmallNet(norm=False, dropout=0.0), ladder)
    assert 0.01 < rate < 0.01 * 2**59


def test_the_network_is_only_an_outline():
    network = SmallNet(dropout=0.0)
    before = copy.deepcopy(network.state_dict())
    other = copy.deepcopy(network)
    nn.init.constant_(other.fc.weight, float("nan"))
    assert stable(network) == stable(other)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.training


def test_every_rate_sees_the_same_batches_and_epochs_that_are_too_short_are_followed_by_others():
    data = small_data(train=96)  # three batches an epoch
    batches = stability._first_batches(data, LADDER)
    assert [len(batch.images) for batch in batches] == [32] * LADDER.steps
    again = stability._first_batches(data, LADDER)
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, again, strict=True))
    assert not torch.equal(batches[0].targets, batches[3].targets)
