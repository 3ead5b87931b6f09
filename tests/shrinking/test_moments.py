"""Moments: what is gathered in passing is what PyTorch says of the patches and gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from onebyone.errors import ShrinkError
from onebyone.shrinking import moments as module
from onebyone.shrinking.moments import collect_moments
from tests.shrinking.networks import mixed_images, moments_of, odd_network, pairs_of


def patches(x, conv):
    found = F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    return found.transpose(1, 2).flatten(0, 1)


@given(
    stride=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 1)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
def test_moments_are_those_of_the_patches(stride, padding, dilation):
    network = odd_network(stride=stride, padding=padding, dilation=dilation)
    images = mixed_images(5)
    found = moments_of(network, images)
    rows = patches(images, network[0])
    assert found.count == len(rows)
    assert found.positions * len(images) == len(rows)
    torch.testing.assert_close(found.mean, rows.mean(0))
    torch.testing.assert_close(found.covariance, torch.cov(rows.T, correction=0))


def test_large_means_take_nothing_from_the_precision():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = 0.01 * torch.randn(64, 3, 6, 6) + 100
    found = moments_of(network, images)
    expected = torch.cov(patches(images.double(), network[0]).T, correction=0)
    torch.testing.assert_close(found.covariance, expected, rtol=1e-3, atol=1e-7)


def test_gradients_are_those_of_drawn_answers():
    network, images = odd_network(), mixed_images(6)
    found = moments_of(network, images, seed=3)
    y = network[0](images).detach().requires_grad_()
    scores = network[1:](y.clone())
    drawn = torch.multinomial(
        scores.detach().softmax(1), 1, generator=torch.Generator().manual_seed(3)
    )
    F.log_softmax(scores, 1).gather(1, drawn).sum().backward()
    rows = y.grad.flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(found.gradients, rows.T @ rows / len(rows))


def test_gradients_in_the_mean_are_the_fisher_information():
    """Against the sum over all classes, each weighted by its probability."""
    network, images = odd_network(), mixed_images(4).repeat(500, 1, 1, 1)
    found = moments_of(network, images, most_patches=10**6)
    y = network[0](images[:4]).detach().requires_grad_()
    logs = F.log_softmax(network[1:](y.clone()), 1)
    fisher = torch.zeros(10, 10, dtype=torch.float64)
    for image in range(4):
        for answer in range(5):
            (grad,) = torch.autograd.grad(logs[image, answer], y, retain_graph=True)
            rows = grad[image].flatten(1).T
            fisher += logs[image, answer].exp().detach() * (rows.T @ rows) / len(rows) / 4
    error = (found.gradients - fisher).norm() / fisher.norm()
    assert error < 0.1  # of 2000 draws


def test_batches_and_chunks_change_nothing(monkeypatch):
    network, images = odd_network(), mixed_images(7)
    whole = moments_of(network, images)
    monkeypatch.setattr(module, "MOST_IMAGES", 3)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 1)
    parts = moments_of(network, images)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.covariance, whole.covariance)
    assert parts.count == whole.count


def test_some_places_are_looked_at_where_there_are_many():
    network, images = odd_network(), mixed_images(10)
    some = moments_of(network, images, most_patches=100)
    assert some.count == 100
    again = moments_of(network, images, most_patches=100)
    torch.testing.assert_close(some.covariance, again.covariance, rtol=0, atol=0)


def test_the_network_stays_as_it_was():
    network, images = odd_network(), mixed_images(3)
    heard = []
    network[0].register_forward_hook(lambda *_: heard.append(1))
    network[0].weight.requires_grad_(requires_grad=False)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    moments_of(network, images)
    assert len(network[0]._forward_hooks) == 1
    assert heard
    assert not network[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_a_layer_that_the_loss_does_not_feel_has_no_gradients():
    network = odd_network()
    with torch.no_grad():
        network[4].weight.zero_()
    assert not moments_of(network, mixed_images(3)).gradients.any()


def test_pairs_of_a_network_with_itself_are_its_moments():
    network, images = odd_network(), mixed_images(5)
    pairs, alone = pairs_of(network, network, "0", images), moments_of(network, images)
    conv = network[0]
    torch.testing.assert_close(pairs.covariance, alone.covariance)
    torch.testing.assert_close(pairs.cross, conv.weight.flatten(1) @ alone.covariance)
    torch.testing.assert_close(
        pairs.mean_out, conv.weight.flatten(1) @ alone.mean + conv.bias, check_dtype=False
    )


def test_pairs_stop_at_the_layer():
    network = odd_network()
    network.append(nn.Linear(3, 3))  # which does not fit
    assert pairs_of(network, network, "0", mixed_images(3)).count


def test_a_layer_that_does_not_run_is_told():
    network = odd_network()
    network.register_module("idle", nn.Conv2d(6, 10, 1))

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = network[:5], nn.Conv2d(6, 10, 1)

        def forward(self, x):
            return self.used(x)

    half = Half().double().eval()
    with pytest.raises(ShrinkError, match="did not come to this layer"):
        pairs_of(half, half, "idle", mixed_images(2))


def test_scores_of_every_pixel_are_answers_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1)).eval()
    found = collect_moments(network, ["0"], torch.randn(4, 3, 6, 6))
    assert found["0"].gradients.diagonal().min() > 0
