"""Factors: what is said to be lost is lost, and no more; full ranks lose nothing."""

from dataclasses import replace
from itertools import pairwise
from math import prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onebyone.shrinking.factors import Spectrum, balance, compose, factorise, regress
from onebyone.shrinking.moments import Pairs
from onebyone.shrinking.weighting import Weighting
from tests.shrinking.networks import mixed_images, moments_of, odd_network, pairs_of

FORMS = {"expand": (10,), "reduce": (6,), "bottleneck": (6, 10)}
PART = {"expand": (3,), "reduce": (2,), "bottleneck": (3, 4)}


def run(weights, bias, conv, x):
    """What several convolutions in a row give."""
    for number, weight in enumerate(weights):
        is_kernel = weight.shape[2:] == conv.weight.shape[2:]
        how = (conv.stride, conv.padding, conv.dilation) if is_kernel else ()
        x = F.conv2d(x, weight.to(x), bias.to(x) if number == len(weights) - 1 else None, *how)
    return x


def plain(moments):
    """Moments by which the loss is the mean squared error of the output."""
    return replace(moments, gradients=torch.eye(10, dtype=torch.float64), positions=2)


@pytest.mark.parametrize("form", FORMS)
def test_full_ranks_are_the_layer(form):
    network, images = odd_network(), mixed_images()
    conv = network[0]
    moments = moments_of(network, images)
    factors = factorise(conv.weight, conv.bias, moments, form, FORMS[form])
    expected = conv(images).detach()
    got = run(factors.weights, factors.bias, conv, images)
    assert (got - expected).norm() / expected.norm() < 1e-10
    in_float32 = run(factors.weights, factors.bias, conv, images.float())
    assert (in_float32 - expected).norm() / expected.norm() < 1e-5
    assert Spectrum(conv.weight, moments).loss(form, FORMS[form]) == pytest.approx(0, abs=1e-12)


@given(
    stride=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 1)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    form=st.sampled_from(sorted(PART)),
    bias=st.booleans(),
)
@settings(max_examples=30)
def test_the_loss_is_the_squared_error_of_the_output(stride, padding, dilation, form, bias):
    network = odd_network(stride=stride, padding=padding, dilation=dilation, bias=bias)
    conv, images = network[0], mixed_images()
    moments = plain(moments_of(network, images))
    factors = factorise(conv.weight, conv.bias, moments, form, PART[form])
    error = run(factors.weights, factors.bias, conv, images) - conv(images)
    expected = error.square().sum(1).mean().item()
    assert Spectrum(conv.weight, moments).loss(form, PART[form]) == pytest.approx(
        expected, rel=1e-3
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_of_every_rank_is_that_of_what_is_built(form):
    network, images = odd_network(), mixed_images()
    weight, moments = network[0].weight, moments_of(network, images)
    spectrum, weighting = Spectrum(weight, moments), Weighting(moments)
    grid = (
        [(a, b) for a in (1, 3, 5) for b in (2, 6, 9)]
        if form == "bottleneck"
        else [(rank,) for rank in range(1, FORMS[form][0] + 1)]
    )
    for ranks in grid:
        error = weight.detach().flatten(1) - compose(spectrum.build(form, ranks)).flatten(1)
        assert spectrum.loss(form, ranks) == pytest.approx(
            weighting.loss(error), rel=1e-6, abs=1e-15
        )


@pytest.mark.parametrize("form", ["expand", "reduce"])
def test_more_ranks_never_lose_more(form):
    network, images = odd_network(), mixed_images()
    spectrum = Spectrum(network[0].weight, moments_of(network, images))
    losses = [spectrum.loss(form, (rank,)) for rank in range(1, FORMS[form][0] + 1)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("form", FORMS)
def test_no_other_numbers_behind_the_first_1x1_lose_less(form):
    network, images = odd_network(), mixed_images()
    weight, moments = network[0].weight, moments_of(network, images)
    spectrum, weighting = Spectrum(weight, moments), Weighting(moments)
    built = spectrum.build(form, PART[form])
    best = spectrum.loss(form, PART[form])
    generator = torch.Generator().manual_seed(0)
    first = 0 if form == "expand" else 1
    for place in range(first, len(built)):
        for _ in range(10):
            other = list(built)
            noise = torch.randn(built[place].shape, generator=generator, dtype=torch.float64)
            other[place] = built[place] + 1e-3 * noise * built[place].norm() / noise.norm()
            error = weight.detach().flatten(1) - compose(tuple(other)).flatten(1)
            assert weighting.loss(error) >= best


def test_of_a_pointwise_layer_reduce_is_no_better_than_expand():
    """Expand is the best of its rank there is (Eckart and Young)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(6, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = network.append(nn.Linear(10, 5)).double().eval()
    spectrum = Spectrum(network[0].weight, moments_of(network, mixed_images()))
    for rank in range(1, 6):
        assert spectrum.loss("expand", (rank,)) <= spectrum.loss("reduce", (rank,)) + 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_balanced_factors_do_the_same_and_weigh_the_same(form):
    network, images = odd_network(), mixed_images()
    built = Spectrum(network[0].weight, moments_of(network, images)).build(form, PART[form])
    scaled = (built[0] * 1e3, *(weight / 1e3 for weight in built[1:2]), *built[2:])
    balanced = balance(scaled)
    torch.testing.assert_close(compose(balanced), compose(built))
    for before, after in pairwise(balanced):
        left = before.flatten(1).norm(dim=1)
        right = after.transpose(0, 1).flatten(1).norm(dim=1)
        torch.testing.assert_close(left, right, rtol=0.1, atol=1e-12)


def test_channels_that_weigh_nothing_are_balanced_too():
    first, second = torch.randn(3, 4, 1, 1), torch.randn(5, 3, 3, 3)
    first[1] = 0
    second[:, 2] = 0
    assert all(weight.isfinite().all() for weight in balance((first, second)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "images", [mixed_images(2), torch.cat([mixed_images()[:, :5], torch.ones(24, 1, 9, 8)], 1)]
)
def test_few_images_and_dead_channels_give_numbers(form, images):
    network = odd_network()
    conv = network[0]
    moments = moments_of(network, images.double())
    factors = factorise(conv.weight, conv.bias, moments, form, PART[form])
    assert all(weight.isfinite().all() for weight in (*factors.weights, factors.bias))
    assert Spectrum(conv.weight, moments).loss(form, PART[form]) >= 0


def test_a_layer_that_the_loss_does_not_feel_loses_nothing():
    network, images = odd_network(), mixed_images()
    moments = replace(moments_of(network, images), gradients=torch.zeros(10, 10).double())
    spectrum = Spectrum(network[0].weight, moments)
    assert spectrum.loss("bottleneck", (1, 1)) == 0
    assert all(weight.isfinite().all() for weight in spectrum.build("bottleneck", (1, 1)))


def test_regression_without_ridge_is_least_squares():
    network, other, images = odd_network(0), odd_network(5), mixed_images()
    changed = nn.Sequential(nn.Conv2d(6, 6, 1).double(), *network)  # what it reads has changed
    pairs = _pairs(changed, other, images)
    weight, bias = regress(pairs, other[0].weight, ridge=0)
    read = (
        F.unfold(changed[0](images), (3, 2), (1, 2), (1, 0), (2, 1)).transpose(1, 2).flatten(0, 1)
    )
    wanted = other[0](images).flatten(2).transpose(1, 2).flatten(0, 1)
    with_one = torch.cat([read, torch.ones(len(read), 1).double()], 1)
    found = torch.linalg.lstsq(with_one, wanted).solution.detach()
    torch.testing.assert_close(weight.flatten(1), found[:-1].T, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(bias, found[-1], rtol=1e-5, atol=1e-7)


def _pairs(changed, other, images):
    """Pairs of the layer that comes second in one network and first in another."""

    class Same(nn.Module):
        def __init__(self, before, conv):
            super().__init__()
            self.before, self.conv = before, conv

        def forward(self, x):
            return self.conv(self.before(x))

    reader, giver = Same(changed[0], changed[1]), Same(nn.Identity(), other[0])
    return pairs_of(reader, giver, "conv", images)


def test_a_great_ridge_leaves_a_layer_as_it_was():
    network, images = odd_network(), mixed_images()
    pairs = pairs_of(network, network, "0", images + 0)
    weight, bias = regress(pairs, network[0].weight * 0.5, ridge=1e9)
    torch.testing.assert_close(weight, network[0].weight.detach() * 0.5)
    torch.testing.assert_close(bias, pairs.mean_out - weight.flatten(1) @ pairs.mean)


def test_a_layer_that_reads_nothing_that_varies_stays_as_it_was():
    weight = torch.randn(4, 3, 1, 1)
    nothing = torch.zeros(3, 3).double()
    pairs = Pairs(
        mean=torch.ones(3).double(),
        covariance=nothing,
        mean_out=torch.ones(4).double(),
        cross=torch.zeros(4, 3).double(),
        count=9,
    )
    found, _ = regress(pairs, weight)
    torch.testing.assert_close(found, weight.double())


def test_ranks_have_as_many_numbers_as_they_ought():
    network, images = odd_network(), mixed_images()
    factors = factorise(network[0].weight, None, moments_of(network, images), "bottleneck", (3, 4))
    assert [tuple(weight.shape) for weight in factors.weights] == [
        (3, 6, 1, 1),
        (4, 3, 3, 2),
        (10, 4, 1, 1),
    ]
    assert prod(factors.bias.shape) == 10
