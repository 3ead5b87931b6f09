"""Narrowing: the losses told on the way are those of what is left in the end."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from onebyone.shrinking.narrow import eliminate, narrow_reader
from tests.shrinking.networks import mixed_images, moments_of, odd_network


@pytest.fixture
def layer():
    network, images = odd_network(), mixed_images()
    moments = replace(
        moments_of(network, images), gradients=torch.eye(10, dtype=torch.float64), positions=2
    )
    return network[0], images, moments


def squared_error(conv, images, moments, kept):
    weight, bias = narrow_reader(conv.weight, conv.bias, moments, kept)
    how = (conv.stride, conv.padding, conv.dilation)
    got = F.conv2d(images[:, list(kept)], weight, bias, *how)
    return (got - conv(images)).square().sum(1).mean().item()


def test_losses_are_the_squared_errors_of_the_output(layer):
    conv, images, moments = layer
    found = eliminate(conv.weight, moments)
    assert sorted(found.order) == list(range(6))
    for width in range(1, 7):
        error = squared_error(conv, images, moments, found.kept(width))
        assert found.losses[6 - width] == pytest.approx(error, rel=1e-3, abs=1e-9)


def test_the_first_to_go_is_the_one_that_is_missed_least(layer):
    conv, images, moments = layer
    found = eliminate(conv.weight, moments)
    errors = {
        kept: squared_error(conv, images, moments, kept) for kept in combinations(range(6), 5)
    }
    assert found.kept(5) == min(errors, key=errors.__getitem__)


def test_losses_rise_with_every_channel_that_goes(layer):
    conv, _, moments = layer
    losses = eliminate(conv.weight, moments).losses
    assert list(losses) == sorted(losses)
    assert losses[0] == 0


def test_a_channel_that_is_the_sum_of_others_goes_for_nothing(layer):
    conv, images, _ = layer
    images = images.clone()
    images[:, 4] = images[:, 1] - 2 * images[:, 2]
    moments = moments_of(odd_network(), images)
    found = eliminate(conv.weight, moments)
    assert found.order[0] in (1, 2, 4)
    assert found.losses[1] < 1e-3 * found.losses[2]


def test_all_channels_are_the_reader_itself(layer):
    conv, _, moments = layer
    weight, bias = narrow_reader(conv.weight, conv.bias, moments, range(6))
    torch.testing.assert_close(weight, conv.weight.detach())
    torch.testing.assert_close(bias, conv.bias.detach())
