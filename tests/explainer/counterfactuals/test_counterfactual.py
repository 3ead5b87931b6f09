from dataclasses import replace
from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onebyone.explainer.cost import LayerKind, count_graph
from onebyone.explainer.counterfactuals.counterfactual import find_counterfactuals
from onebyone.graph import Graph, capture
from onebyone.models import ZOO, build_network
from onebyone.models.resnet import ResNetConfig
from onebyone.nn import Bottleneck
from tests.explainer.structure.test_roles import island
from tests.helpers.oracles import timm

ONE, TWO = "one k x k at the outer width", "two k x k at the outer width"
BASIC, DIRECT = "as many basic blocks", "no reductions"
DENSE, LARGER = "dense for depthwise separable", "3x3 for each 1x1"


def counterfactuals(network, size=224):
    """Return them by name, each checked to be consistent."""
    params = sum(parameter.numel() for parameter in network.parameters())
    graph = capture(network.eval(), (torch.empty(1, 3, size, size, device="meta"),)).graph
    found = find_counterfactuals(graph, count_graph(graph, params=params))
    for one in found:
        check_consistent(one)
    return {one.name: one for one in found}


def check_consistent(counterfactual):
    names = [layer.name for layer in counterfactual.layers]
    assert len({*names}) == len(names)
    assert counterfactual.meaning.endswith(".")
    assert counterfactual.replaced > 0
    for layer in counterfactual.layers:
        if layer.kernel_size is not None:
            weights = layer.input_shape[1] // layer.groups * prod(layer.kernel_size)
            assert layer.macs == prod(layer.output_shape) * weights
            assert layer.params in (
                layer.output_shape[1] * weights,
                layer.output_shape[1] * (weights + 1),
            )
            assert (layer.kernel_size == (1, 1)) == (
                layer.kind in (LayerKind.POINTWISE, LayerKind.GROUPED_POINTWISE)
            )


def check_costs_as(counterfactual, network, size=224):
    """A counterfactual costs what that network costs, as PyTorch counts it."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, 3, size, size, device=device))
    assert counterfactual.macs * 2 == counter.get_total_flops()
    assert counterfactual.params == sum(p.numel() for p in network.parameters())


def build(config):
    with torch.device("meta"):
        return build_network(config)


def zoo(name):
    return build(ZOO[name].config)


def wide(network, count):
    """Replace each bottleneck by 3x3s at the outer width."""
    for block in network.modules():
        if isinstance(block, Bottleneck):
            outer, inner = block.conv1.in_channels, block.conv3.out_channels
            stride = block.conv2.stride
            block.bn1 = block.conv2 = block.bn2 = nn.Identity()
            first = nn.Conv2d(outer, inner, 3, stride, 1, bias=False, device="meta")
            if count == 1:
                block.conv1, block.conv3 = nn.Identity(), first
            else:
                block.conv1, block.bn1 = first, nn.BatchNorm2d(inner, device="meta")
                block.conv3 = nn.Conv2d(inner, inner, 3, 1, 1, bias=False, device="meta")
    return network


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("resnet50", ("25.9G", "161M"), ("55.5G", "342M")),
        ("resnet101", ("57.4G", "321M"), ("118.4G", "663M")),
        ("resnet152", ("88.8G", "453M"), ("181.3G", "927M")),
    ],
)
def test_kernels_at_the_outer_width_of_resnets(name, one, two):
    found = counterfactuals(zoo(name))
    for counterfactual, count, known in ((found[ONE], 1, one), (found[TWO], 2, two)):
        check_costs_as(counterfactual, wide(zoo(name), count))
        macs, params = counterfactual.macs, counterfactual.params
        assert (f"{macs / 1e9:.1f}G", f"{params / 1e6:.0f}M") == known
        assert counterfactual.replaced == sum(ZOO[name].config.blocks)


def test_resnet50_of_as_many_basic_blocks_is_resnet34():
    basic = counterfactuals(zoo("resnet50"))[BASIC]
    assert (basic.macs, basic.params) == (3_663_761_408, 21_797_672)
    check_costs_as(basic, zoo("resnet34"))


def test_check_costs_as_catches_another_network():
    basic = counterfactuals(zoo("resnet50"), 64)[BASIC]
    with pytest.raises(AssertionError):
        check_costs_as(basic, zoo("resnet18"), 64)


@pytest.mark.parametrize("name", ["resnet101", "resnet152"])
def test_deeper_resnets_of_basic_blocks(name):
    config = replace(ZOO["resnet34"].config, blocks=ZOO[name].config.blocks)
    check_costs_as(counterfactuals(zoo(name), 64)[BASIC], build(config), 64)


@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(2, 9), st.integers(1, 4)), min_size=1, max_size=3
    ),
    st.integers(2, 9),
    st.sampled_from(["3x3", "reduce"]),
    st.integers(33, 70),
)
def test_any_resnet_of_basic_blocks(stages, stem, stride_in, size):
    blocks, hidden, factors = zip(*stages, strict=True)
    config = ResNetConfig(
        block="bottleneck",
        blocks=blocks,
        hidden_channels=hidden,
        out_channels=tuple(h + 8 * f for h, f in zip(hidden, factors, strict=True)),
        stem_channels=stem,
        stride_in=stride_in,
        num_classes=5,
    )
    basic = replace(config, block="basic", out_channels=hidden)
    check_costs_as(counterfactuals(build(config), size)[BASIC], build(basic), size)


def test_googlenet_without_its_reductions():
    network = zoo("googlenet_5x5")
    found = counterfactuals(network)[DIRECT]
    for path, unit in list(network.named_modules()):
        if path.startswith("inception") and path.endswith(("branch2", "branch3")):
            reduce, spatial = unit.children()
            unit.set_submodule("0", nn.Identity())
            size = spatial.conv.kernel_size[0]
            spatial.conv = nn.Conv2d(
                reduce.conv.in_channels,
                spatial.conv.out_channels,
                size,
                padding=size // 2,
                device="meta",
            )
    check_costs_as(found, network)
    assert (f"{found.macs / 1e9:.2f}G", f"{found.params / 1e6:.1f}M") == ("4.43G", "25.3M")
    assert found.replaced == 18


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0", "googlenet", "nin_imagenet"])
def test_larger_kernels(name):
    network = zoo(name)
    found = counterfactuals(network)[LARGER]
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            larger = nn.Conv2d(
                module.in_channels,
                module.out_channels,
                3,
                module.stride,
                1,
                bias=module.bias is not None,
                device="meta",
            )
            network.set_submodule(path, larger)
    check_costs_as(found, network)


class Separable(nn.Sequential):
    """A depthwise convolution and a 1x1, or what comes in their place."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, *, dense):
        padding = kernel_size // 2
        if dense:
            layers = [nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)]
        else:
            layers = [
                nn.Conv2d(
                    in_channels, in_channels, kernel_size, stride, padding, groups=in_channels
                ),
                nn.BatchNorm2d(in_channels),
                nn.ReLU(),
                nn.Conv2d(in_channels, out_channels, 1),
            ]
        super().__init__(*layers, nn.BatchNorm2d(out_channels), nn.ReLU())


@given(
    st.lists(st.integers(2, 20), min_size=2, max_size=4),
    st.sampled_from([3, 5]),
    st.integers(1, 2),
    st.integers(20, 40),
)
def test_dense_kernels_for_separable_ones(widths, kernel_size, stride, size):
    def network(*, dense):
        pairs = pairwise(widths)
        with torch.device("meta"):
            return nn.Sequential(
                nn.Conv2d(3, widths[0], 3),
                *(Separable(*pair, kernel_size, stride, dense=dense) for pair in pairs),
            )

    found = counterfactuals(network(dense=False), size)[DENSE]
    check_costs_as(found, network(dense=True), size)


def test_inverted_bottlenecks_at_the_outer_width_are_cheaper():
    found = counterfactuals(zoo("mobilenet_v2"))
    network = zoo("mobilenet_v2")
    for block in network.modules():
        if hasattr(block, "conv_pwl"):
            block.bn1 = block.act1 = block.bn2 = block.act2 = nn.Identity()
            block.conv_pwl = nn.Conv2d(
                block.conv_pw.in_channels,
                block.conv_pwl.out_channels,
                3,
                block.conv_dw.stride,
                1,
                bias=False,
                device="meta",
            )
            block.conv_pw = block.conv_dw = nn.Identity()
    check_costs_as(found[ONE], network)
    assert found[ONE].macs < 300_774_272 < found[DENSE].macs


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", {LARGER}),
        ("resnet50", {ONE, TWO, BASIC, LARGER}),
        ("mobilenet_v2", {ONE, TWO, DENSE, LARGER}),
        ("googlenet", {DIRECT, LARGER}),
        ("inception_resnet_v2", {DIRECT, LARGER}),
        ("nin_imagenet", {LARGER}),
    ],
)
def test_only_what_applies_is_listed(name, expected):
    assert counterfactuals(zoo(name), ZOO[name].input_size).keys() == expected


@pytest.mark.parametrize(
    "name", ["resnetv2_50", "resnext50_32x4d", "seresnet50", "resnet50d", "res2net50_26w_4s"]
)
def test_relatives_of_resnet50_have_its_counterfactuals(name):
    with torch.device("meta"):
        found = counterfactuals(timm.create_model(name), 64)
    assert found.keys() >= {ONE, TWO, BASIC, LARGER}
    assert found[ONE].replaced == found[BASIC].replaced == 16


def test_squeezes_are_narrowed_with_the_stream():
    with torch.device("meta"):
        network = timm.create_model("seresnet50")
    layers = {layer.path: layer for layer in counterfactuals(network, 64)[BASIC].layers}
    squeeze, excite = layers["layer2.1.se.fc1"], layers["layer2.1.se.fc2"]
    assert (squeeze.input_shape[1], squeeze.output_shape[1]) == (128, 32)
    assert (excite.input_shape[1], excite.output_shape[1]) == (32, 128)


def test_a_network_without_1x1s_or_connections_has_none_that_need_them():
    graph = Graph.of(island(0, 8, 4), ())
    (found,) = find_counterfactuals(graph, count_graph(graph, params=32))
    assert (found.name, found.params, found.macs) == (LARGER, 9 * 32, 9 * 32 * 64)
    with torch.device("meta"):
        assert counterfactuals(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), 16) == {}


class Shared(nn.Module):
    """A bottleneck that runs twice."""

    def __init__(self, kernel_size=1):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.reduce = nn.Conv2d(8, 4, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm2d(4)
        self.spatial = nn.Conv2d(4, 4, 3, padding=1)
        self.expand = nn.Conv2d(4, 8, kernel_size, padding=kernel_size // 2)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x = x + self.expand(self.spatial(self.norm(self.reduce(x)).relu()).relu())
        return x


class SharedWide(Shared):
    """The same at the outer width."""

    def __init__(self):
        super().__init__()
        self.reduce = self.norm = self.spatial = nn.Identity()
        self.expand = nn.Conv2d(8, 8, 3, padding=1)


def test_layers_that_run_twice_have_their_numbers_once():
    found = counterfactuals(Shared(), 16)
    check_costs_as(found[LARGER], Shared(3), 16)
    check_costs_as(found[ONE], SharedWide(), 16)
    assert found[ONE].replaced == 2
