"""Reductions that read less: the best estimates there are, and nothing else changes."""

import pytest
import torch
from torch import nn

from onebyone.nn import Bottleneck
from onebyone.studies.reductions import (
    narrowing_blocks,
    projector,
    random_mixtures,
    read_moments,
    renew_norms,
    replace_reductions,
    strongest_inputs,
    strongest_outputs,
    strongest_weights,
)

SKETCHES = (strongest_weights, strongest_inputs, strongest_outputs, random_mixtures)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), Bottleneck(16, 4, 16), Bottleneck(16, 16, 16)
    )
    network.train()
    network(torch.randn(64, 3, 6, 6))
    return network.eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(20, 3, 6, 6, generator=generator) for _ in range(3)]


def read(network, batches):
    """What the reduction reads, a pixel a row; float64."""
    x = torch.relu(network[0](torch.cat(batches)))
    return x.transpose(0, 1).flatten(1).T.double().detach()


def output_variance(network, x):
    """Variance of what the reduction gives, all channels together."""
    return (x @ network[2].conv1.matrix.double().T).var(0, correction=0).sum().detach()


def test_only_blocks_that_narrow_are_looked_at(network):
    assert list(narrowing_blocks(network)) == ["2"]


def test_moments_are_those_of_the_pixels(network, batches):
    moments = read_moments(network, batches)["2"]
    x = read(network, batches)
    torch.testing.assert_close(moments.mean, x.mean(0), rtol=1e-5, atol=1e-6)
    expected = torch.cov(x.T, correction=0)
    torch.testing.assert_close(moments.covariance, expected, rtol=1e-4, atol=1e-6)
    assert not network[2].conv1._forward_pre_hooks


@pytest.mark.parametrize("sketch", SKETCHES)
@torch.no_grad()
def test_all_of_the_rank_changes_no_output(network, batches, sketch):
    """The weights' rank is all that matters: but what holds the input may leave it out."""
    moments = read_moments(network, batches)
    part = 1 if sketch in (strongest_weights, strongest_outputs) else 4  # of 4 channels: all 16
    replaced, _ = replace_reductions(network, moments, sketch, part=part)
    images = torch.cat(batches)
    torch.testing.assert_close(replaced(images), network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sketch", SKETCHES)
@torch.no_grad()
def test_the_mean_of_the_output_stays(network, batches, sketch):
    replaced, _ = replace_reductions(network, read_moments(network, batches), sketch, part=1 / 2)
    outputs = [
        one[2].bn1(one[2].conv1(torch.relu(one[0](torch.cat(batches)))))
        for one in (network, replaced)
    ]
    before, after = (y.mean((0, 2, 3)) for y in outputs)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def shares(network, batches, sketch):
    """What a choice keeps of the input, and how far the output is from what it was."""
    torch.manual_seed(2)
    replaced, kept = replace_reductions(network, read_moments(network, batches), sketch, part=1 / 2)
    x = read(network, batches)
    x = x - x.mean(0)
    change = network[2].conv1.matrix.double() - replaced[2].conv1.matrix.double()
    return kept, (x @ change.T).square().sum().item()


def test_principal_components_keep_most_of_the_input(network, batches):
    kept = {sketch: shares(network, batches, sketch)[0] for sketch in SKETCHES}
    assert max(kept, key=kept.__getitem__) is strongest_inputs
    assert all(0 < share < 1 for share in kept.values())


def test_components_of_the_output_change_it_least(network, batches):
    changes = {sketch: shares(network, batches, sketch)[1] for sketch in SKETCHES}
    assert min(changes, key=changes.__getitem__) is strongest_outputs


@pytest.mark.parametrize("sketch", SKETCHES)
def test_the_share_kept_is_that_of_the_best_estimate(network, batches, sketch):
    torch.manual_seed(2)
    moments = read_moments(network, batches)
    _, kept = replace_reductions(network, moments, sketch, part=1 / 2)
    torch.manual_seed(2)
    chosen = sketch(network[2].conv1.matrix.detach().double(), moments["2"], 2)
    x = read(network, batches)
    x = x - x.mean(0)
    known = x @ chosen.T
    estimate = known @ torch.linalg.lstsq(known, x).solution
    expected = 1 - (x - estimate).square().sum() / x.square().sum()
    assert kept == pytest.approx(expected.item(), rel=1e-4)


def test_what_a_sketch_holds_is_estimated_without_error():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    sketch = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    estimate = projector(root @ root.T, sketch)
    torch.testing.assert_close(sketch @ estimate, sketch)
    torch.testing.assert_close(estimate @ estimate, estimate)


@pytest.mark.parametrize("sketch", SKETCHES)
def test_the_network_stays_as_it_was(network, batches, sketch):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    replace_reductions(network, read_moments(network, batches), sketch, part=1 / 4)
    renew_norms(network, batches)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network.training


@torch.no_grad()
def test_renewed_norms_have_the_images_statistics(network, batches):
    renewed = renew_norms(network, batches)
    means = [renewed[2].conv1(torch.relu(renewed[0](images))).mean((0, 2, 3)) for images in batches]
    torch.testing.assert_close(
        renewed[2].bn1.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5
    )
    assert renewed[2].bn1.momentum == network[2].bn1.momentum
    assert not renewed[2].bn1.training
