import pytest
import torch
from torch import nn

from onebyone.explainer import LayerKind, count_cost
from onebyone.explainer.modules import group_by_module
from onebyone.models import ZOO, build_network
from tests.helpers.oracles import timm


def group(network, shape=(1, 3, 64, 64)):
    return group_by_module(network, count_cost(network, shape))


def on_meta(build):
    with torch.device("meta"):
        return build()


def child(module, path):
    return next(one for one in module.children if one.path == path)


NETWORKS = {
    "resnet50": lambda: build_network(ZOO["resnet50"].config),
    "efficientnet_lite0": lambda: build_network(ZOO["efficientnet_lite0"].config),
    "convnext_atto": lambda: timm.create_model("convnext_atto"),
    "fastvit_t8": lambda: timm.create_model("fastvit_t8"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def known(request):
    network = on_meta(NETWORKS[request.param])
    cost = count_cost(network, (1, 3, 64, 64))
    return network, cost, group_by_module(network, cost)


def test_the_root_has_all(known):
    network, cost, root = known
    assert root.path == ""
    assert root.kind == type(network).__name__
    assert root.params == sum(parameter.numel() for parameter in network.parameters())
    assert root.macs == cost.macs
    assert root.pointwise_macs == sum(one.macs for one in cost.of_kind(LayerKind.POINTWISE))


@pytest.mark.parametrize("depth", range(7))
def test_rows_of_any_depth_sum_to_the_total(known, depth):
    _, _, root = known
    rows = root.rows(depth)
    assert sum(row.params for row in rows) == root.params
    assert sum(row.macs for row in rows) == root.macs
    assert sum(row.pointwise_macs for row in rows) == root.pointwise_macs
    assert max(row.depth for row in rows) <= depth
    assert all(row.params or row.macs for row in rows)


def test_each_subtotal_is_that_of_the_module_itself(known):
    network, cost, root = known
    seen = 0
    todo = [root]
    while todo:
        module = todo.pop()
        inner = network.get_submodule(module.path)
        prefix = f"{module.path}." if module.path else ""
        assert module.params == sum(parameter.numel() for parameter in inner.parameters())
        within = [one for one in cost.layers if f"{one.path}.".startswith(prefix)]
        assert module.macs == sum(one.macs for one in within)
        seen += 1
        todo += module.children
    assert seen > 20


def test_repeated_blocks_are_told_once():
    layer3 = child(group(on_meta(NETWORKS["resnet50"])), "layer3")
    first, others = layer3.children
    assert (first.path, first.last_path, first.repeats) == ("layer3.0", "layer3.0", 1)
    assert (others.path, others.last_path, others.repeats) == ("layer3.1", "layer3.5", 5)
    assert first.params + 5 * others.params == layer3.params


def test_children_come_as_they_run_norms_behind_what_they_follow():
    network = timm.create_model("resnet18")
    block = child(child(group(network), "layer2"), "layer2.0")
    assert [one.path.removeprefix("layer2.0.") for one in block.children] == [
        *("conv1", "bn1", "conv2", "bn2", "downsample")
    ]
    assert [one.path for one in group(Mixed(), (1, 3, 5, 5)).children] == ["first", "last"]


def test_rows_of_a_repeated_block_are_for_all_of_them():
    rows = group(on_meta(NETWORKS["resnet50"])).rows(3)
    row = next(row for row in rows if row.path == "layer3.1.conv1")
    assert (row.count, row.kind, row.depth) == (5, "PointwiseConv2d", 3)
    assert row.params == 5 * 1024 * 256


class Mixed(nn.Module):
    """Holds a parameter of its own, calls a function, and runs modules in another order."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.first = nn.Conv2d(3, 4, 1)
        self.kernel = nn.Parameter(torch.ones(4, 4, 1, 1))

    def forward(self, x):
        x = nn.functional.conv2d(self.first(x), self.kernel)
        return self.last(x.mean((2, 3)))


def test_what_lies_directly_in_a_module_is_its_own_row():
    rows = group(Mixed(), (1, 3, 5, 5)).rows(1)
    assert [(row.path, row.params, row.macs, row.is_rest) for row in rows] == [
        ("", 16, 16 * 25, True),
        ("first", 16, 12 * 25, False),
        ("last", 10, 8, False),
    ]
    (whole,) = group(Mixed(), (1, 3, 5, 5)).rows(0)
    assert (whole.params, whole.macs, whole.is_rest) == (42, 28 * 25 + 8, False)


class Shared(nn.Module):
    """Runs one convolution at two places."""

    def __init__(self):
        super().__init__()
        conv = nn.Conv2d(3, 3, 1)
        self.left = nn.Sequential(conv, nn.ReLU())
        self.right = nn.Sequential(conv, nn.Conv2d(3, 3, 3))

    def forward(self, x):
        return self.right(self.left(x))


def test_a_shared_module_counts_where_it_is_first_met():
    root = group(Shared(), (1, 3, 4, 4))
    left, right = root.children
    assert (left.params, right.params) == (12, 84)
    assert (left.macs, right.macs) == (2 * 9 * 16, 81 * 4)
    assert [one.path for one in right.children] == ["right.1"]


def test_tied_parameters_count_where_they_are_first_met():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    network[1].weight = network[0].weight
    first, second = group(network, (1, 3, 4, 4)).children
    assert (first.params, second.params) == (12, 3)
    assert first.repeats == second.repeats == 1


def test_layers_of_other_sizes_are_no_repeats():
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 1))
    assert [one.repeats for one in group(network, (1, 3, 8, 8)).children] == [1, 1, 1]
    alike = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)))
    assert [one.repeats for one in group(alike, (1, 3, 8, 8)).children] == [3]


def test_layers_of_a_module_that_is_not_known_are_the_networks_own():
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    cost = count_cost(nn.ModuleDict({"other": network})["other"], (1, 3, 4, 4))
    renamed = count_cost(Mixed(), (1, 3, 4, 4))
    root = group_by_module(network, renamed)
    assert root.macs == renamed.macs
    assert root.params == cost.params == 12
    assert sum(row.macs for row in root.rows(1)) == renamed.macs


def test_a_network_of_one_layer_is_its_own_row():
    (row,) = group(nn.Conv2d(3, 4, 1), (1, 3, 2, 2)).rows(5)
    assert (row.path, row.kind, row.params, row.macs, row.is_rest) == ("", "Conv2d", 16, 48, False)
