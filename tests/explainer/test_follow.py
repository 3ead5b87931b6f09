"""What can be read of networks of every kind: the whole, one path, or layers by themselves."""

import threading

import pytest
import torch
from torch import nn

from onebyone.errors import ModelError
from onebyone.explainer.follow import as_evaluated, follow
from onebyone.graph import Convolution

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def block():
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.5))


class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = block()

    def forward(self, x):
        x = self.block(x)
        return x if x.sum() > 0 else -x


class Leaves(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = block()

    def forward(self, x):
        return torch.from_numpy(self.block(x).detach().numpy())


def test_most_networks_are_followed_whole():
    followed = follow(block(), (X,))
    assert followed.is_whole
    assert followed.notes == ()
    assert followed.dropouts == {"2"}


def test_one_that_looks_at_numbers_is_followed_on_the_example():
    followed = follow(Looks(), (X,))
    assert followed.is_whole
    (note,) = followed.notes
    assert note.startswith("what the network does depends on numbers")
    assert "is_nonzero" in note or "_local_scalar_dense" in note


def test_of_one_that_leaves_pytorch_the_layers_are_read():
    followed = follow(Leaves(), (X,))
    assert not followed.is_whole
    assert [node.path for node in followed.graph if isinstance(node, Convolution)] == ["block.0"]
    (note,) = followed.notes
    assert note.startswith("how the layers hang together could not be read")
    assert "numpy" in note


def test_one_that_does_not_run_is_one_line():
    wanted = (
        r"^the model does not run on inputs of shape \(1, 2, 8, 8\): .*3 channels.*; "
        "check that it does in PyTorch, or name another shape$"
    )
    with pytest.raises(ModelError, match=wanted):
        follow(block(), (X[:, :2],))


def test_without_numbers_there_is_no_example_to_follow():
    with torch.device("meta"):
        looks = Looks()
    with pytest.raises(ModelError, match="^what the model does depends on numbers"):
        follow(looks, (X.to("meta"),))


@pytest.mark.parametrize("make", [block, Looks, Leaves])
def test_the_network_and_the_example_stay_as_they_are(make):
    network, x = make().train(), X.clone()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    follow(network, (x,))
    assert network.training
    assert torch.equal(x, X)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_a_copy_shares_its_tensors_and_has_no_hooks():
    network = block()
    network[0].register_forward_hook(lambda *_: pytest.fail("a hook was called"))
    copied = as_evaluated(network)
    assert copied[0].weight is network[0].weight
    assert len(network[0]._forward_hooks) == 1
    copied(X)


def test_what_cannot_be_copied_is_followed_as_it_is():
    network = block().eval()
    network.lock = threading.Lock()
    assert as_evaluated(network) is network
    assert follow(network, (X,)).is_whole
