"""One contract for each kind of thing: layers, networks, pairs of modules that must agree."""

import copy

import torch
from torch import Tensor, nn

from onebyone.models import Network


def check_same(before: nn.Module, after: nn.Module, x: Tensor, *, terms: int) -> None:
    """Both modules agree on `x`; `terms` is how many products are summed for one output."""
    with torch.no_grad():
        expected, got = before(x), after(x)
    assert got.shape == expected.shape
    # Rounding errors of a sum grow like a random walk; 4 is room for the order of summation.
    tolerance = 4 * torch.finfo(x.dtype).eps * terms**0.5 * float(expected.abs().max())
    assert float((got - expected).abs().max()) <= tolerance


def check_layer(
    layer: nn.Module, in_shape: tuple[int, ...], out_shape: tuple[int, ...], *, params: int
) -> None:
    """A layer has the promised shape and size, trains every parameter, and keeps images apart."""
    assert sum(p.numel() for p in layer.parameters()) == params
    layer = copy.deepcopy(layer).eval()
    x = torch.randn(in_shape)
    y = layer(x)
    assert tuple(y.shape) == out_shape
    y.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    with torch.no_grad():
        torch.testing.assert_close(layer(x[:1]), y[:1].detach())


def check_network(network: Network, input_size: int) -> None:
    """A network gives one score a class, is its features and its head, and can be trained."""
    assert not network.training
    x = torch.randn(2, 3, input_size, input_size)
    scores = network(x)
    assert scores.shape == (2, network.config.num_classes)
    assert scores.isfinite().all()
    with torch.no_grad():
        torch.testing.assert_close(
            network.forward_head(network.forward_features(x)), scores.detach()
        )
    head = network.get_submodule(network.head_name)
    assert head.get_parameter("weight").shape[0] == network.config.num_classes
    scores.logsumexp(1).sum().backward()
    without_gradient = [
        n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()
    ]
    assert not without_gradient
