"""What a hidden group must satisfy, whatever the network."""

import copy

import torch


def check_hidden(network, group, folds, images):
    """Nobody but a group's layers knows of its channels: neither their order, nor each of them."""
    network, images = copy.deepcopy(network).eval().double(), images.double()
    order = torch.randperm(group.channels)
    _check_same(network, _permuted(network, group, folds, order), images)
    deaf = copy.deepcopy(network)
    channel = int(torch.randint(group.channels, ()))
    deaf.get_submodule(group.consumer).weight.data[:, channel] = 0
    _check_same(deaf, _disturbed(deaf, group.producer, channel), images)


@torch.no_grad()
def _check_same(network, other, images):
    expected = network(images)
    scale = float(expected.abs().max())
    torch.testing.assert_close(other(images), expected, rtol=0, atol=1e-9 * scale)


def _permuted(network, group, folds, order):
    """Return a copy in which the channels of a group have another order."""
    network = copy.deepcopy(network)
    norms = {fold.conv: fold.norm for fold in folds}
    for path in (group.producer, *(site.path for site in group.depthwise)):
        _permute(network.get_submodule(path), order)
        if path in norms:
            _permute(network.get_submodule(norms[path]), order)
    consumer = network.get_submodule(group.consumer)
    consumer.weight.data = consumer.weight.data[:, order]
    return network


def _permute(layer, order):
    for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
        if tensor.dim() > 0:
            tensor.data = tensor.data[order]


def _disturbed(network, producer, channel):
    """Return a copy in which a convolution gives something else in one channel."""
    network = copy.deepcopy(network)
    network.get_submodule(producer).weight.data[channel] *= -3
    return network
