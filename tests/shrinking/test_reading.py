"""Reading a network: it stays as it is, and what cannot be read is one line."""

import copy
import threading

import pytest
import torch
from torch import nn

from onebyone.errors import ModelError, ShrinkError, UnknownNameError
from onebyone.shrinking.survey import survey

IMAGE = torch.randn(1, 3, 8, 8)


def network_of(*more):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *more)


class Counting(nn.Module):
    """Writes into a buffer and an attribute, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.count = nn.Buffer(torch.zeros(1))
        self.calls = 0

    def forward(self, x):
        self.count += 1
        self.calls += 1
        return self.conv(x)


def test_the_network_stays_as_it_is():
    network = nn.Sequential(network_of(), nn.Conv2d(8, 3, 1), Counting()).train()
    seen = []
    network[0].register_forward_hook(lambda *_: seen.append(1))
    before, state = str(network), copy.deepcopy(network.state_dict())
    image = IMAGE.clone()
    survey(network, image)
    assert str(network) == before
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert (network[2].calls, seen, len(network[0]._forward_hooks)) == (0, [], 1)
    assert torch.equal(image, IMAGE)


class Leaves(nn.Module):
    """Leaves PyTorch in the middle."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.b(torch.from_numpy(self.norm(self.a(x)).detach().numpy()))


class Decides(Leaves):
    """Looks at numbers."""

    def forward(self, x):
        x = self.norm(self.a(x))
        return self.b(x if x.sum() > 1e9 else -x)


@pytest.mark.parametrize("make", [Leaves, Decides])
def test_where_the_graph_is_not_proven_there_are_sites_and_a_note(make):
    found = survey(make(), IMAGE)
    assert [site.path for site in found.sites] == ["a", "b"]
    assert (found.folds, found.groups, found.unproven, found.left_alone) == ((), (), {}, {})
    assert found.macs == sum(site.macs for site in found.sites) == 64 * (24 + 32)
    assert len(found.notes) == 1


def test_weights_without_numbers_are_enough():
    network = network_of(nn.Conv2d(8, 4, 1))
    found = survey(copy.deepcopy(network).to("meta"), IMAGE)
    assert found == survey(network, IMAGE)
    assert len(found.folds) == len(found.groups) == 1


class Two(nn.Module):
    """Takes two tensors."""

    def forward(self, x, mask):
        return x * mask


class Fussy(nn.Module):
    """Insists on what its layer is."""

    def __init__(self):
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        if not isinstance(self.conv, nn.Conv2d):
            raise TypeError("no convolution")
        return self.conv(x)


def held():
    network = network_of()
    network.lock = threading.Lock()
    return network


@pytest.mark.parametrize(
    ("network", "example", "error", "why"),
    [
        (Two(), IMAGE, ShrinkError, r"takes images and nothing else was wanted.*'mask'"),
        (Fussy(), IMAGE, ShrinkError, r"^the network does not run with others.*: no convolution;"),
        (held(), IMAGE, ShrinkError, r"^the network cannot be copied, and changes are made on"),
        (network_of(), IMAGE[:0], ShrinkError, r"an image at least.*; got \(0, 3, 8, 8\)$"),
        (network_of(), torch.tensor(1.0), ShrinkError, r"an image at least.*; got \(\)$"),
        (network_of(), IMAGE[:, :2], ModelError, r"^the model does not run on inputs of shape"),
        (nn.Sequential(nn.LazyConv2d(4, 1)), IMAGE, ShrinkError, r"layers that were never run"),
    ],
)
def test_what_cannot_be_read_is_one_line(network, example, error, why):
    with pytest.raises(error, match=why) as raised:
        survey(network, example)
    assert "\n" not in str(raised.value)


def test_an_unknown_name_to_keep_is_told():
    with pytest.raises(
        UnknownNameError, match=r"^`keep` names '0.convv', .* did you mean '0.conv'\?$"
    ):
        survey(nn.Sequential(Fussy()), IMAGE, keep=["0.convv"])
