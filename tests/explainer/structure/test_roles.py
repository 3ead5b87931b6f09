from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onebyone.explainer.structure.patterns import Pattern
from onebyone.explainer.structure.roles import Role, find_roles, find_triples
from onebyone.graph import Convolution, Graph, Input, capture
from onebyone.models import ZOO, build_network
from tests.helpers.oracles import timm


def roles_of(network, channels=3, size=64):
    captured = capture(network.eval(), (torch.empty(1, channels, size, size, device="meta"),))
    return find_roles(captured.graph, dropouts=captured.dropouts)


def zoo(name):
    with torch.device("meta"):
        return build_network(ZOO[name].config)


def role_counts(found):
    return Counter(one.role for one in found)


def pattern_counts(found):
    return Counter(one.pattern for one in found)


def by_path(found):
    return {one.path: one for one in found}


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"])
def test_bottlenecks_reduce_and_expand(name):
    found = roles_of(zoo(name))
    blocks = sum(ZOO[name].config.blocks)
    assert role_counts(found) == {
        Role.REDUCE: blocks - 1,
        Role.EXPAND: blocks,
        Role.SHORTCUT: 4,
        Role.MIX: 1,
    }
    assert pattern_counts(found) == {Pattern.BOTTLENECK: 2 * blocks, None: 4}
    assert by_path(found)["layer1.0.conv1"].role is Role.MIX
    assert {one.norm for one in found} == {"batch norm"}
    assert {one.path.rpartition(".")[2] for one in found if one.activation} == {"conv1"}
    assert not any(one.dropout for one in found)


def test_basic_blocks_have_shortcuts_alone():
    found = roles_of(zoo("resnet18"))
    assert [(one.path, one.role, one.stride) for one in found] == [
        (f"layer{stage}.0.downsample.0", Role.SHORTCUT, (2, 2)) for stage in (2, 3, 4)
    ]
    assert found[0].why == "into the sum layer2.0.add, past what begins at layer1.1.act2"


def test_forty_filter_expansions_of_inception_resnet_are_linear():
    found = roles_of(zoo("inception_resnet_v2"), size=160)
    expansions = [one for one in found if one.pattern is Pattern.FILTER_EXPANSION]
    assert len(found) == 140
    assert role_counts(found) == {Role.REDUCE: 99, Role.EXPAND: 41}
    assert pattern_counts(found)[Pattern.INCEPTION] == 98
    assert len(expansions) == 40
    assert expansions == [
        one for one in found if one.role is Role.EXPAND and one.activation is None
    ]
    assert {one.norm for one in expansions} == {None}


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite4", "mobilenet_v2"])
def test_inverted_bottlenecks_end_in_linear_projections(name):
    found = roles_of(zoo(name))
    projections = [one for one in found if one.role is Role.PROJECT]
    assert role_counts(found) == {Role.PROJECT: len(found) / 2, Role.EXPAND: len(found) / 2}
    assert not any(one.activation for one in projections)
    assert pattern_counts(found) == {
        Pattern.INVERTED_BOTTLENECK: len(found) - 2,
        Pattern.SEPARABLE: 1,
        Pattern.HEAD_FEATURES: 1,
    }


def test_the_heads_expansion_of_lite0_can_be_told_from_the_blocks():
    head = by_path(roles_of(zoo("efficientnet_lite0")))["conv_head"]
    assert (head.role, head.pattern) == (Role.EXPAND, Pattern.HEAD_FEATURES)
    assert head.why == "320 -> 1280 channels, before the pool avgpool, in the head"
    assert head.dropout


@pytest.mark.parametrize("name", ["googlenet", "googlenet_5x5"])
def test_branches_of_googlenet(name):
    found = roles_of(zoo(name))
    assert role_counts(found) == {Role.REDUCE: 36, Role.MIX: 1}
    assert pattern_counts(found) == {Pattern.INCEPTION: 36, None: 1}
    assert {one.activation for one in found} == {"relu"}
    assert {one.norm for one in found} == ({"batch norm"} if name == "googlenet" else {None})


def test_mlpconv_and_its_scores():
    found = roles_of(zoo("nin_cifar10"), size=32)
    assert pattern_counts(found) == {Pattern.MLPCONV: 6}
    assert [one.role for one in found] == [
        *(Role.REDUCE, Role.REDUCE, Role.MIX, Role.MIX),
        *(Role.MIX, Role.HEAD),
    ]
    assert [one.dropout for one in found] == [False, True, False, True, False, False]


@pytest.mark.parametrize("name", ZOO)
def test_every_1x1_of_the_zoo_has_a_role_and_a_reason(name):
    network = zoo(name)
    found = roles_of(network, size=ZOO[name].input_size // 2)
    pointwise = [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    ]
    assert sorted(one.path for one in found) == sorted(pointwise)
    assert all(one.why for one in found)


SQUEEZED = {"seresnet50": 32, "mobilenetv3_small_100": 18, "regnety_002": 26}


@pytest.mark.parametrize("name", SQUEEZED)
def test_both_1x1s_of_squeeze_and_excite_are_gates(name):
    with torch.device("meta"):
        found = roles_of(timm.create_model(name))
    gates = [one for one in found if one.role is Role.GATE]
    assert len(gates) == SQUEEZED[name]
    assert [one.path for one in gates] == [one.path for one in found if ".se." in one.path]
    assert {one.pattern for one in gates} == {None}


RESNETS = ("resnet50d", "ecaresnet50t", "resnetv2_50", "seresnet50", "res2net50_26w_4s")


@pytest.mark.parametrize("name", RESNETS)
def test_relatives_of_resnet50_have_its_roles(name):
    with torch.device("meta"):
        found = roles_of(timm.create_model(name))
    blocks = [one for one in found if one.role not in (Role.GATE, Role.HEAD)]
    counts = role_counts(blocks)
    assert counts[Role.SHORTCUT] == 4
    assert counts[Role.EXPAND] in (16, 17)  # Res2Net's first block is wider inside than its stem
    assert counts[Role.REDUCE] == 15
    assert counts.total() == 36


def test_norm_and_activation_before_a_convolution_are_not_its_own():
    with torch.device("meta"):
        found = by_path(roles_of(timm.create_model("resnetv2_50")))
    first, last = (found[f"stages.1.blocks.1.conv{i}"] for i in (1, 3))
    assert (first.norm, first.activation) == ("batch norm", "relu")
    assert (last.norm, last.activation, last.pattern) == (None, None, Pattern.BOTTLENECK)


def test_dense_layers_merge_what_was_concatenated_for_them():
    with torch.device("meta"):
        found = by_path(roles_of(timm.create_model("densenet121")))
    layers = [one for path, one in found.items() if not path.endswith("denselayer1.conv1")]
    assert {one.role for one in layers} == {Role.MERGE}
    assert found["features.transition1.conv"].why == "alone reads features.denseblock1.concat"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("mobilenetv1_100", Pattern.SEPARABLE),
        ("convnext_atto", Pattern.INVERTED_BOTTLENECK),
        ("mobilenetv2_050", Pattern.INVERTED_BOTTLENECK),
        ("inception_next_atto", Pattern.INVERTED_BOTTLENECK),
        ("resnext50_32x4d", Pattern.BOTTLENECK),
    ],
)
def test_patterns_of_networks_that_we_did_not_write(name, pattern):
    with torch.device("meta"):
        found = roles_of(timm.create_model(name))
    assert pattern_counts(found).most_common(1)[0][0] is pattern
    assert pattern_counts(found)[pattern] >= len(found) - 4


def test_triples_lie_across_sums():
    captured = capture(zoo("resnet50").eval(), (torch.empty(1, 3, 64, 64, device="meta"),))
    triples = find_triples(captured.graph)
    assert len(triples) == 15
    assert triples[0].layers == ("layer1.0.conv2", "layer1.0.conv3", "layer1.1.conv1")
    assert {triple.between for triple in triples} == {("batch norm", "add", "relu")}
    borders = [one for one in triples if one.channels[0] != one.channels[2]]
    assert [one.channels for one in borders] == [(64, 256, 128), (128, 512, 256), (256, 1024, 512)]


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2"])
def test_networks_without_bottlenecks_have_no_triples(name):
    captured = capture(zoo(name).eval(), (torch.empty(1, 3, 64, 64, device="meta"),))
    assert find_triples(captured.graph) == ()


def island(index, in_channels, out_channels):
    source = Input(name=f"input{index}", shape=(1, in_channels, 8, 8), index=index)
    convolution = Convolution(
        name=f"conv{index}",
        inputs=(source.name,),
        shape=(1, out_channels, 8, 8),
        path=f"conv{index}",
        weight=torch.empty(out_channels, in_channels, 1, 1, device="meta"),
    )
    return source, convolution


def test_unconnected_layers_are_known_by_their_widths():
    widths = [(8, 4), (4, 8), (8, 8)]
    nodes = [node for i, pair in enumerate(widths) for node in island(i, *pair)]
    found = find_roles(Graph.of(nodes, ()))
    assert [one.role for one in found] == [Role.REDUCE, Role.EXPAND, Role.MIX]
    assert {(one.pattern, one.norm, one.activation) for one in found} == {(None, None, None)}
    assert found[0].why == "8 -> 4 channels"


class Behind(nn.Module):
    """A 1x1, and what is asked for behind it, before a 3x3."""

    def __init__(self, behind):
        super().__init__()
        self.stem, self.conv, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.behind = behind

    def forward(self, x):
        return self.last(self.behind(self, self.conv(self.stem(x))))


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (lambda net, x: x, (None, None, False)),
        (lambda net, x: F.relu(net.norm(x)), ("batch norm", "relu", False)),
        (lambda net, x: F.relu6(x), (None, "relu6", False)),
        (lambda net, x: x * torch.sigmoid(x), (None, "silu", False)),
        (lambda net, x: x * F.hardsigmoid(x), (None, "hardswish", False)),
        (lambda net, x: F.mish(x), (None, "mish", False)),
        (lambda net, x: F.elu(F.group_norm(x, 2)), ("group norm", "elu", False)),
        (lambda net, x: F.dropout(x, 0.5, training=False), (None, None, True)),
        (lambda net, x: F.dropout(x, 0.0, training=False), (None, None, False)),
        (lambda net, x: torch.dropout(input=x, p=0.5, train=False), (None, None, True)),
        (lambda net, x: F.dropout2d(net.norm(x), training=False), ("batch norm", None, True)),
        (lambda net, x: F.dropout(F.max_pool2d(x.relu(), 2), 0.1, False), (None, "relu", True)),
        (lambda net, x: F.relu(x) + x, (None, None, False)),
        (lambda net, x: F.max_pool2d(x, 2).relu(), (None, None, False)),
    ],
)
def test_what_follows(behind, expected):
    (found,) = roles_of(Behind(behind), size=16)
    assert (found.norm, found.activation, found.dropout) == expected


class Gated(nn.Module):
    """A map times a function of two 1x1s of it."""

    def __init__(self, gate):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.one, self.two, self.last = (nn.Conv2d(8, 8, 1) for _ in range(3))
        self.gate = gate

    def forward(self, x):
        x = self.stem(x)
        return self.last(self.gate(self, x)).mean((2, 3)) * 2


@pytest.mark.parametrize(
    ("gate", "is_gate"),
    [
        (lambda net, x: x * net.two(net.one(x.mean((2, 3), keepdim=True)).relu()), True),
        (lambda net, x: x * net.two(net.one(x).relu()).sigmoid(), True),
        (lambda net, x: x + net.two(net.one(F.adaptive_avg_pool2d(x, 1)).relu()), True),
        (lambda net, x: net.two(net.one(x).relu()), False),
        (lambda net, x: F.silu(net.two(F.silu(net.one(x)))), False),
        (lambda net, x: x + net.two(net.one(x).relu()), False),
    ],
)
def test_gates_scale_or_shift_another_map(gate, is_gate):
    found = by_path(roles_of(Gated(gate), size=16))
    assert found["last"].role is Role.HEAD
    assert {found[name].role for name in ("one", "two")} == {Role.GATE if is_gate else Role.MIX}


class Fire(nn.Module):
    """SqueezeNet's: a 1x1 that squeezes, and two kernels beside each other."""

    def __init__(self, in_channels):
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, 4, 1)
        self.small, self.large = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.small(x).relu(), self.large(x).relu()], 1)


def test_fire_modules():
    network = nn.Sequential(nn.Conv2d(3, 16, 3), Fire(16), Fire(16), nn.Conv2d(16, 5, 1))
    found = by_path(roles_of(network, size=16))
    assert found["1.squeeze"].role is Role.REDUCE
    assert found["2.squeeze"].role is Role.MERGE
    assert found["2.squeeze"].why == "alone reads 1.concat"
    assert {found[f"{i}.small"].pattern for i in (1, 2)} == {Pattern.INCEPTION}
    assert found["3"].role is Role.HEAD


class UNet(nn.Module):
    """One level down and up, with a shortcut that is concatenated."""

    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fuse, self.scores = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.down(x).relu()
        up = F.interpolate(self.deep(F.max_pool2d(x, 2)).relu(), scale_factor=2)
        x = self.fuse(torch.cat([x, up], 1)).relu()
        return F.interpolate(self.scores(x), scale_factor=2, mode="bilinear")


def test_a_network_of_pixels_has_a_head_too():
    found = by_path(roles_of(UNet(), size=16))
    assert [found[name].role for name in ("fuse", "scores")] == [Role.MERGE, Role.HEAD]
    assert {one.pattern for one in found.values()} == {None}
