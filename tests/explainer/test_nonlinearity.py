from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onebyone.errors import ModelError, ShapeError
from onebyone.explainer import nonlinearity
from onebyone.explainer.nonlinearity import count_activations, measure_nonlinearity
from onebyone.explainer.samples import prepared_images
from onebyone.graph import Activation, BatchNorm, Convolution, Function, Graph, capture
from onebyone.models import ZOO, build_network

PIECES = {nn.ReLU: (0.0,), nn.ReLU6: (0.0, 6.0), nn.Hardsigmoid: (-3.0, 3.0)}
SLOPES = {nn.ReLU: (0, 1), nn.ReLU6: (0, 1, 0), nn.Hardsigmoid: (0, 1 / 6, 0)}


def images(*shape, scale=3.0):
    return prepared_images(scale * torch.randn(shape))


def measure(network, given, **settings):
    graph = capture(network.eval(), (given[0],)).graph
    return measure_nonlinearity(graph, given, **settings)


def exact_changes(layers, start, end):
    """How many breakpoints the units of a chain of layers cross, found one after the other.

    From a point on, the network is linear up to the next breakpoint, which the values of all units
    and their slopes along the segment tell; there the unit changes its piece, and so on.
    """
    start, end = start.double(), end.double()
    layers = [layer.double() if isinstance(layer, nn.Module) else layer for layer in layers]
    pieces, crossed, at = {}, {}, 0.0

    def go_through(at):
        """Give the activations, each with the values before it and their slopes."""
        value, slope = torch.lerp(start, end, at), end - start
        for index, layer in enumerate(layers):
            if type(layer) not in PIECES:
                zero = layer(torch.zeros_like(value))
                value, slope = layer(value), layer(slope) - zero
                continue
            if index not in pieces:
                bounds = torch.tensor(PIECES[type(layer)], dtype=torch.float64)
                pieces[index] = torch.bucketize(value, bounds)
            yield index, layer, value, slope
            value = layer(value)
            slope = slope * torch.tensor(SLOPES[type(layer)]).double()[pieces[index]]

    while True:
        nearest, event = 1.0, None
        for index, layer, value, slope in go_through(at):
            inf = torch.tensor([float("inf")]).double()
            bounds = torch.cat([-inf, torch.tensor(PIECES[type(layer)]).double(), inf])
            above, below = bounds[pieces[index] + 1], bounds[pieces[index]]
            target = torch.where(slope > 0, above, below)
            when = torch.where(slope == 0, inf, at + ((target - value) / slope).clamp(min=0))
            if when.min() < nearest:
                nearest, event = float(when.min()), (index, int(when.argmin()), slope)
        if event is None:
            return crossed
        index, unit, slope = event
        pieces[index].view(-1)[unit] += 1 if slope.reshape(-1)[unit] > 0 else -1
        crossed[index] = crossed.get(index, 0) + 1
        at = nearest


def chain():
    """A network of linear pieces, whose weights bend it often."""
    layers = [
        nn.Conv2d(2, 3, 3),
        nn.ReLU6(),
        nn.Conv2d(3, 4, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 2),
        nn.Hardsigmoid(),
        nn.Conv2d(3, 2, 1),
        nn.ReLU(),
    ]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= 3
    return nn.Sequential(*layers)


@torch.no_grad()
def test_changes_are_those_of_an_exact_enumeration(monkeypatch):
    torch.manual_seed(1)
    network, given = chain(), images(2, 2, 7, 7, scale=4.0)
    monkeypatch.setattr(nonlinearity, "FEWEST_STEPS", 512)
    found = measure(network, given)
    exact = exact_changes(network, given[0], given[1])
    assert [layer.changes for layer in found.layers] == [exact.get(i, 0) for i in (1, 3, 6, 8)]
    assert found.changes == sum(exact.values()) > 50
    assert (found.segments, found.steps) == (1, 512)
    linear = [layer for index, layer in enumerate(network) if index not in (3, 8)]
    assert found.changes_without == sum(exact_changes(linear, given[0], given[1]).values())


@torch.no_grad()
def test_more_steps_only_raise_the_count(monkeypatch):
    monkeypatch.setattr(nonlinearity, "SETTLED", -1.0)
    network, given = chain(), images(2, 2, 8, 8, scale=9.0)
    counts = {steps: measure(network, given, most_steps=steps) for steps in (1, 2, 4, 8, 16, 32)}
    assert [found.steps for found in counts.values()] == list(counts)
    changes = [found.changes for found in counts.values()]
    assert changes == sorted(changes)
    assert counts[32].growth == pytest.approx(1 - changes[-2] / changes[-1])


def test_a_count_that_has_settled_is_not_made_finer():
    found = measure(chain(), images(2, 2, 8, 8, scale=0.01))
    assert (found.steps, found.growth) == (8, pytest.approx(0, abs=0.03))


@torch.no_grad()
def test_counts_are_means_over_segments():
    network, given = chain(), images(5, 2, 8, 8)
    both = measure(network, given, most_steps=8)
    first, second = (
        measure(network, replace(given, prepared=given.prepared[part]), most_steps=8)
        for part in (slice(0, 2), slice(2, 4))
    )
    assert both.segments == 2
    assert both.changes == (first.changes + second.changes) / 2
    assert measure(network, given, segments=1, most_steps=8) == first


def test_nothing_changes_between_an_image_and_itself():
    image = torch.randn(1, 2, 8, 8)
    found = measure(chain(), prepared_images(image.repeat(2, 1, 1, 1)))
    assert (found.changes, found.changes_without, found.growth, found.steps) == (0, 0, 0, 8)


@pytest.mark.parametrize(
    ("layer", "function", "crossed"),
    [
        (nn.ReLU(), "relu", 1),
        (nn.ReLU6(), "relu6", 2),
        (nn.LeakyReLU(0.1), "leaky_relu(0.1)", 1),
        (nn.Hardsigmoid(), "hardsigmoid", 2),
        (nn.Hardtanh(-1, 1), "clamp(-1, 1)", 2),
        (nn.PReLU(), "prelu", 1),
        (nn.SiLU(), "silu", None),
        (nn.GELU(), "gelu", None),
        (nn.Hardswish(), "hardswish", None),
        (nn.ELU(), "elu", None),
        (nn.Mish(), "mish", None),
        (nn.Softplus(), "softplus", None),
    ],
)
def test_each_function_has_its_breakpoints(layer, function, crossed):
    """From -9 to 9, a unit crosses all of them."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), layer)
    network[0].weight.data[:] = 1
    given = prepared_images(torch.tensor([-9.0, 9.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3))
    found = measure(network, given)
    (only,) = found.layers
    assert (only.function, only.units, only.behind_pointwise) == (function, 9, True)
    assert only.changes == found.changes == (None if crossed is None else 9 * crossed)
    assert found.segments == (crossed is not None)
    assert found.changes_without == (None if crossed is None else 0)


def test_smooth_functions_stand_beside_others():
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.SiLU(), nn.Conv2d(3, 3, 3), nn.ReLU())
    found = measure(network, images(2, 2, 8, 8))
    smooth, kinked = found.layers
    assert smooth.changes is None
    assert found.changes == kinked.changes > 0
    linear = nn.Sequential(*[network[index] for index in (0, 2, 3)])
    assert found.changes_without == measure(linear, images_again()).changes


def images_again():
    torch.manual_seed(0)
    _ = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 3)  # the numbers that were drawn before
    return images(2, 2, 8, 8)


def test_what_lies_behind_a_1x1_is_told_from_the_graph():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.point, self.norm = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)
            self.spatial, self.grouped = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, groups=2)
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            x = F.relu(self.norm(self.point(x)))
            x = F.relu(self.spatial(x) + x)
            x = F.relu(self.grouped(x))
            return F.relu(self.linear(x.mean((2, 3))))

    graph = capture(Network().eval(), (torch.randn(1, 2, 5, 5),)).graph
    found = count_activations(graph)
    assert [layer.behind_pointwise for layer in found.layers] == [True, False, False, False]
    assert [layer.units for layer in found.layers] == [100, 100, 100, 3]
    assert found.units == 303
    assert (found.segments, found.steps, found.changes, found.growth) == (0, 0, None, None)


def test_activations_within_other_nodes_count_alike():
    network, given = chain(), images(2, 2, 8, 8)
    graph = capture(network.eval(), (given[0],)).graph
    fused = fuse(graph)
    assert not any(isinstance(node, Activation) for node in fused)
    apart, within = (measure_nonlinearity(one, given) for one in (graph, fused))
    assert [replace(layer, name="", path="") for layer in apart.layers] == [
        replace(layer, name="", path="") for layer in within.layers
    ]
    assert [layer.name for layer in within.layers] == [
        node.name for node in fused if isinstance(node, Convolution)
    ]
    assert apart.changes_without == within.changes_without


def fuse(graph):
    """Move each activation into the convolution before it."""
    changes = {}
    for node in graph:
        if isinstance(node, Activation):
            before = graph[node.inputs[0]]
            changes[node.name] = replace(before, activation=node.function)
            changes[before.name] = None
    return graph.with_changes(changes)


def test_a_residual_within_the_convolution_is_no_1x1_alone():
    x = {"shape": (1, 2, 3, 3)}
    settings = {"weight": torch.randn(2, 2, 1, 1), "activation": Function("relu"), **x}
    (given,) = capture(nn.ReLU().eval(), (torch.randn(1, 2, 3, 3),)).graph.inputs
    alone = Convolution(name="alone", inputs=(given.name,), **settings)
    joined = Convolution(name="joined", inputs=("alone", given.name), **settings)
    ones = torch.ones(2)
    norm = BatchNorm(
        name="norm", inputs=("joined",), weight=ones, bias=ones, mean=ones, var=ones, eps=0, **x
    )
    graph = Graph.of([given, alone, joined, replace(norm, activation=Function("relu6"))], ())
    found = count_activations(graph)
    assert [layer.behind_pointwise for layer in found.layers] == [True, False, False]


def test_what_gets_too_large_without_activations_is_not_measured():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU6(), nn.Conv2d(1, 1, 2), nn.ReLU())
    network[0].weight.data[:] = 1e30
    network[2].weight.data[:] = 1e30
    found = measure(network, prepared_images(torch.randn(2, 1, 4, 4)))
    assert found.changes > 0
    assert found.changes_without is None


def test_numbers_that_are_not_finite_are_refused():
    network = chain()
    network[2].weight.data[0] = float("nan")
    with pytest.raises(ModelError, match=r"^3: numbers that are not finite come here on these"):
        measure(network, images(2, 2, 8, 8))


def test_one_image_has_no_segment_and_others_may_not_fit():
    found = measure(chain(), images(1, 2, 8, 8))
    assert (found.segments, found.changes, found.changes_without) == (0, None, None)
    graph = capture(chain().eval(), (torch.randn(1, 2, 8, 8),)).graph
    with pytest.raises(ShapeError, match="captured for an input of"):
        measure_nonlinearity(graph, images(2, 2, 9, 9))


@pytest.mark.parametrize(
    ("name", "size", "millions"),
    [
        ("resnet18", 224, 2.308),
        ("resnet34", 224, 3.562),
        ("resnet50", 224, 9.609),
        ("resnet101", 224, 14.727),
        ("resnet152", 224, 21.049),
        ("inception_resnet_v2", 299, 24.926),
        ("mobilenet_v2", 224, 6.106),
        ("efficientnet_lite0", 224, 6.158),
        ("efficientnet_lite1", 240, 9.290),
        ("efficientnet_lite2", 260, 11.810),
        ("efficientnet_lite3", 300, 19.961),
        ("efficientnet_lite4", 380, 41.803),
        ("nin_cifar10", 32, 0.631),
    ],
)
def test_units_of_the_zoo_are_the_published_ones(name, size, millions):
    with torch.device("meta"):
        network = build_network(ZOO[name].config).eval()
    graph = capture(network, (torch.empty(1, 3, size, size, device="meta"),)).graph
    assert round(count_activations(graph).units / 1e6, 3) == millions


def test_large_networks_are_cut_less_finely():
    with torch.device("meta"):
        network = build_network(ZOO["resnet50"].config).eval()
    graph = capture(network, (torch.empty(1, 3, 224, 224, device="meta"),)).graph
    affordable = nonlinearity._affordable_steps
    assert affordable(graph, 4) == 16
    assert affordable(graph, 2) == 32
    assert affordable(capture(chain().eval(), (torch.randn(1, 2, 8, 8),)).graph, 4) == 1024
