"""Networks that look at numbers: followed on an example, or layer by layer."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onebyone.errors import ModelError
from onebyone.graph import Convolution, Input, capture, capture_example, capture_layers, interpret
from onebyone.graph.verify import verify

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Chooses(nn.Module):
    """Takes one of two branches, by what it sees, and keeps some of the numbers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.router = nn.Linear(8, 2)
        self.branches = nn.ModuleList([nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1)])

    def forward(self, x):
        x = self.stem(x).relu()
        choice = self.router(x.mean((2, 3))).argmax(1).item()
        x = self.branches[choice](x)
        if x.sum() > 1e6:
            raise ValueError("never")
        return x, x[x > 0.1].mean(), torch.nonzero(x[0, 0])


def network(branch):
    torch.manual_seed(0)
    chooses = Chooses().eval()
    with torch.no_grad():
        chooses.router.bias.copy_(torch.tensor([9.0, -9.0]) * (1 - 2 * branch))
    return chooses


@pytest.mark.parametrize("branch", [0, 1])
def test_the_graph_is_what_the_network_does_for_the_example(branch):
    chooses = network(branch)
    captured, places = capture_example(chooses, (X,))
    verify(captured.graph)
    with torch.no_grad():
        wanted = chooses(X)
    got = captured.unflatten(interpret(captured.graph, [X]))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)
    paths = [node.path for node in captured.graph if isinstance(node, Convolution)]
    assert paths == ["stem", "router", f"branches.{branch}"]
    assert [place.split()[-1].strip("()") for place in places] == [
        "aten._local_scalar_dense.default",
        "aten.index.Tensor",
        "aten.nonzero.default",
    ]


def test_what_decides_is_in_the_graph_though_nobody_gets_it():
    captured, _ = capture_example(network(0), (X,))
    assert any(node.path == "router" for node in captured.graph)


def test_a_network_that_never_looks_has_the_same_graph_as_without_an_example():
    plain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU()).eval()
    captured, places = capture_example(plain, (X,))
    assert str(captured.graph) == str(capture(plain, (X,)).graph)
    assert places == ()


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        return self.conv(x + torch.rand_like(x))


def test_random_numbers_are_drawn_and_named():
    captured, places = capture_example(Draws().eval(), (X,))
    assert any(isinstance(node, Convolution) for node in captured.graph)
    assert any("rand" in place for place in places)
    with pytest.raises(ModelError, match="draws random numbers"):
        capture(Draws().eval(), (X,))


class Leaves(nn.Module):
    """Goes through numpy on the way, where nothing can be followed."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.line = nn.Conv1d(8, 4, 3)
        self.attention = nn.MultiheadAttention(8, 2)
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        x = torch.from_numpy(self.conv(x).detach().numpy() * 2)
        tokens = x.flatten(2).permute(2, 0, 1)
        attended, _ = self.attention(tokens, tokens, tokens)
        return self.line(x.flatten(2)), self.fc(attended)


def test_layers_by_themselves_have_the_multiply_adds_of_the_whole():
    from onebyone.explainer import count_graph

    leaves = Leaves().eval()
    with pytest.raises(ModelError, match="numpy"):
        capture_example(leaves, (X,))
    graph = capture_layers(leaves, (X,))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        leaves(X)
    assert 2 * count_graph(graph, params=0).macs == counter.get_total_flops()
    assert {node.path for node in graph if node.path} == {"conv", "line", "attention", "fc"}
    (conv,) = (node for node in graph if node.path == "conv")
    assert isinstance(graph[conv.inputs[0]], Input)
    torch.testing.assert_close(conv.weight, leaves.conv.weight.detach())
