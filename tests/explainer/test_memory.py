"""Peak memory, beside an oracle that allocates and frees, and beside what PyTorch holds."""

import weakref
from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onebyone.explainer.memory import find_peak
from onebyone.graph import (
    Activation,
    Arithmetic,
    Graph,
    Input,
    LayerNorm,
    Reshape,
    Slice,
    Softmax,
    capture,
)
from tests.helpers.oracles import torchvision

SIDE = 4


def peak_of(function, *shapes):
    if isinstance(function, nn.Module):
        function.eval()
    return find_peak(capture(function, tuple(torch.empty(shape) for shape in shapes)).graph)


IN_PLACE = (Activation, Arithmetic, LayerNorm, Softmax)


def replayed_peak(graph: Graph) -> int:
    """Allocate and free as the nodes run, and return the most that there was."""
    kept = {node.name for node in graph.inputs}
    buffers = [({node.name}, 4 * prod(node.shape)) for node in graph.inputs]
    most = 0
    nodes = list(graph)
    for step, node in enumerate(nodes):
        later = {name for one in nodes[step + 1 :] for name in one.inputs} | kept
        later |= {ref.name for ref in graph.outputs}
        read = [next(one for one in buffers if name in one[0]) for name in {*node.inputs}]
        size = 4 * prod(node.shape)
        spare = [
            one
            for one in read
            if isinstance(node, IN_PLACE)
            and (read.count(one), one[1]) == (1, size)
            and not later & one[0]
        ]
        if isinstance(node, (Slice, Reshape)) or "reshape" in node.name:
            read[0][0].add(node.name)
        elif spare:
            spare[0][0].add(node.name)
        elif not isinstance(node, Input):
            buffers.append(({node.name}, size))
        most = max(most, sum(size for _, size in buffers))
        buffers = [one for one in buffers if later & one[0]]
    return most


STEPS = st.tuples(
    st.sampled_from(["conv", "relu", "relu", "add", "add", "half", "cat", "norm", "pool"]),
    st.integers(0, 30),
    st.integers(0, 30),
)


def network_of(steps):
    """Return a function that does some steps, each on earlier values, newest first."""

    def run(x):
        values = [x]
        for word, first, second in steps:
            a, b = (values[-1 - index % len(values)] for index in (first % 3, second))
            if word == "conv":
                a = nn.functional.conv2d(a, torch.ones(4, a.shape[1], 1, 1))
            elif word == "relu":
                a = a.relu()
            elif word == "add" and a.shape == b.shape:
                a = a + b
            elif word == "half" and a.shape[1] > 1:
                a = a[:, : a.shape[1] // 2]
            elif word == "cat":
                a = torch.cat([a, b], 1) if a.shape[2:] == b.shape[2:] else a
            elif word == "norm":
                a = a.softmax(1)
            elif word == "pool" and a.shape[2] == SIDE:
                a = nn.functional.avg_pool2d(a, 3, padding=1, stride=2)
            values.append(a)
        return values[-1].flatten(1), values[len(values) // 2]

    return run


@given(st.lists(STEPS, min_size=1, max_size=14))
def test_the_peak_is_that_of_allocating_and_freeing(steps):
    graph = capture(network_of(steps), (torch.empty(1, 4, SIDE, SIDE, device="meta"),)).graph
    peak = find_peak(graph)
    assert peak.bytes == replayed_peak(graph)
    assert peak.bytes == sum(4 * prod(graph[name].shape) for name in peak.held)
    assert peak.node in graph.nodes


class Held(TorchDispatchMode):
    """Watch PyTorch run, and note the most bytes of activations that are alive after an operator.

    Args:
        network: Its own tensors are not counted.
    """

    def __init__(self, network):
        super().__init__()
        own = [*network.parameters(), *network.buffers()]
        self.own = {tensor.untyped_storage()._cdata for tensor in own}
        self.alive = {}
        self.peak_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, result)):
            if isinstance(leaf, Tensor):
                self.note(leaf.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, sum(size for size, _ in self.alive.values()))
        return result

    def note(self, storage):
        key = storage._cdata
        if key not in self.own and key not in self.alive:
            forget = weakref.ref(storage, lambda _: self.alive.pop(key, None))
            self.alive[key] = (storage.nbytes(), forget)


def held_by_pytorch(network, x):
    with torch.no_grad(), Held(network) as held:
        network(x)
    return held.peak_bytes


def without_norms(network):
    for module in network.modules():
        names = list(module._modules)
        for conv, norm in pairwise(names):
            if isinstance(module._modules[norm], nn.BatchNorm2d):
                pair = module._modules[conv], module._modules[norm]
                module._modules[conv] = fuse_conv_bn_eval(*pair)
                module._modules[norm] = nn.Identity()
    return network


@pytest.mark.parametrize(
    ("name", "node", "more"),
    [
        # A max pool gives int64 indices as well, which nobody reads.
        ("vgg11", "features.2", 8 * 64 * 32 * 32),
        # The stage's input: its caller still has a name for it while the stage runs.
        ("resnet50", "layer1.0.downsample.0", 4 * 64 * 16 * 16),
        # The same for a block's.
        ("mobilenet_v2", "features.2.conv.1.0", 4 * 16 * 32 * 32),
    ],
)
def test_pytorch_holds_as_much_but_for_what_it_could_have_let_go(name, node, more):
    with torch.device("meta"):
        network = without_norms(getattr(torchvision.models, name)(weights=None).eval())
        x = torch.empty(1, 3, 64, 64)
    peak = find_peak(capture(network, (x,)).graph)
    assert peak.node == node
    assert held_by_pytorch(network, x) == peak.bytes + more


def test_pytorch_holds_exactly_as_much_where_nothing_is_held_in_vain():
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 1), nn.AvgPool2d(2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 9, 5)).eval()
    assert held_by_pytorch(network, torch.randn(2, 3, 8, 8)) == peak_of(network, (2, 3, 8, 8)).bytes


def test_norms_that_are_not_in_place_make_pytorch_hold_more():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU()).eval()
    x = torch.randn(1, 3, 8, 8)
    ours = peak_of(network, x.shape).bytes
    assert ours == 4 * 11 * 64
    assert held_by_pytorch(network, x) == ours + 4 * 8 * 64


def test_the_input_is_held_throughout_and_never_written_into():
    peak = peak_of(lambda x: x.relu().relu(), (1, 4, 2, 2))
    assert (peak.bytes, len(peak.held)) == (2 * 4 * 16, 2)


def test_what_is_read_later_is_not_overwritten():
    def twice(x):
        y = x * 2
        return y.relu() + y

    assert peak_of(twice, (1, 1, 2, 2)).bytes == 3 * 4 * 4


def test_views_take_nothing_and_hold_what_they_show():
    def halves(x):
        y = x * 2
        return y[:, :1] * y[:, 1:]

    assert peak_of(halves, (1, 2, 2, 2)).bytes == 4 * (8 + 8 + 4)


def test_parts_of_an_operator_with_several_results_are_one_value():
    peak = peak_of(lambda x: x.topk(2)[0], (1, 4, 2, 8))
    assert peak.bytes == 4 * (64 + 16)
    assert peak.node == "topk"


def test_constants_are_not_counted():
    constant = torch.ones(1, 4, 2, 2)
    assert peak_of(lambda x: x + constant, (1, 4, 2, 2)).bytes == 2 * 64


def test_a_network_that_only_hands_on_holds_its_input():
    assert peak_of(nn.Identity(), (1, 4, 2, 2)).bytes == 64
