"""Explanations of plans: what they say of real networks, of random ones, and from the cache."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from onebyone.compiler import build, compile_model
from onebyone.compiler.account import Account
from onebyone.compiler.fates import LayerFate, LayerFates, tell_fates
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.split import Segment, split_graph
from onebyone.compiler.target import TARGETS
from onebyone.graph import Convolution, capture
from onebyone.models import create_model
from tests.compiler.rewrites.test_rewrites import graphs
from tests.compiler.test_model import CumulativeSum
from tests.helpers.fates import check_fates, check_text

SIZES = {"googlenet": 64, "resnet50": 64, "mobilenet_v2": 96, "inception_resnet_v2": 96}


def planned(graph):
    """The fates of a graph, planned for a fixed processor but not compiled."""
    segments = [part.graph for part in split_graph(graph) if isinstance(part, Segment)]
    parts = map(rewrite_graph, segments)
    accounts = [Account.of(part, plan_execution(part, TARGETS["avx512"])) for part in parts]
    fates = tell_fates(graph, accounts)
    return fates, check_fates(fates, graph, accounts)


def story(name):
    size = SIZES[name]
    graph = capture(create_model(name), (torch.zeros(1, 3, size, size),)).graph
    return graph, *planned(graph)


def one_by_ones(graph, told):
    """The verdicts of all 1x1 convolutions, counted."""
    return Counter(
        told[node.place][0]
        for node in graph
        if isinstance(node, Convolution) and node.kernel_size == (1, 1)
    )


def test_every_1x1_of_googlenet_has_its_own_fate():
    graph, fates, told = story("googlenet")
    assert one_by_ones(graph, told) == {"merged": 18, "alone": 20}
    assert fates.count("merged") == 18
    assert fates.rows[-1].kind == "linear layer"
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        two, three = (f"inception{block}.branch{branch}.0.conv" for branch in (2, 3))
        assert told[two][1].startswith(f"with {three} into one 1x1 convolution; tile ")
        assert told[three][1].startswith(f"with {two} into one 1x1 convolution; tile ")
        verdict, detail = told[f"inception{block}.branch1.conv"]
        assert verdict == "alone"
        assert detail.endswith(
            f"; not merged with {two} + branch3.0.conv, as it is written straight into "
            f"inception{block}"
        )
        for branch in ("1", "2.0", "2.1", "3.0", "3.1", "4.1"):
            host = f"inception{block}.branch{branch}"
            assert told[f"{host}.bn"] == told[f"{host}.act"] == ("fused", f"into {host}.conv")
        assert told[f"inception{block}"] == ("free", "its inputs are written into place")


def test_additions_of_resnet_are_fused_into_the_convolution_before_them():
    graph, fates, told = story("resnet50")
    assert one_by_ones(graph, told)["alone"] == 37
    assert told["layer1.0.bn3"] == ("fused", "into layer1.0.conv3")
    rows = [row for row in fates.rows if row.kind == "add"]
    assert len(rows) == 16
    assert {row.verdict for row in rows} == {"fused"}
    assert all(re.fullmatch(r"into layer\d\.\d\.\w+(\.\d)?", row.detail) for row in rows)


def test_bands_of_mobilenet_name_each_other():
    _, fates, told = story("mobilenet_v2")
    verdict, detail = told["blocks.1.0.conv_dw"]
    assert verdict == "by rows"
    assert re.fullmatch(r"with blocks\.1\.0\.conv_pwl in \d+ bands; tile \d+x16", detail)
    assert told["blocks.1.0.conv_pwl"][1].startswith("with blocks.1.0.conv_dw in ")
    by_rows = [row for row in fates.rows if row.verdict == "by rows"]
    assert {row.kind for row in by_rows} == {"3x3 depthwise", "1x1 convolution"}


def test_scales_of_inception_resnet_are_parts_of_weights():
    _, fates, told = story("inception_resnet_v2")
    constants = [row for row in fates.rows if row.verdict == "constant"]
    assert len(constants) == 40
    assert sum(row.detail.startswith("part of repeat") for row in constants) == 39
    assert constants[-1].detail == "dropped, as nothing that is left reads it"
    assert told["mixed_5b.branch1.0.conv"][0] == told["mixed_5b.branch2.0.conv"][0] == "merged"


class Mixed(nn.Module):
    """Native code, PyTorch's, and native code again, with all that stays on its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 4, 1)
        self.right = nn.Conv2d(8, 4, 1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        y = self.first(x).relu()
        z = self.norm(torch.cumsum(y, 1))
        return self.last(z.tanh()), self.left(y) + self.right(y), y[:, 2:6], torch.ones(2, 2)


def test_what_pytorch_runs_is_named_and_what_surrounds_it_says_why_it_is_alone():
    fates, told = planned(capture(Mixed().eval(), (torch.zeros(1, 3, 8, 8),)).graph)
    assert told["cumsum"] == ("in PyTorch", "no native code for aten.cumsum.default")
    assert told["norm"] == (
        "alone",
        "in place; not folded: cumsum is no convolution, and its activation comes before last",
    )
    assert told["tanh"] == ("fused", "into norm")
    assert told["add"] == ("fused", "into right; an output")
    assert told["slice"] == ("free", "channels of its input, where they lie; an output")
    assert fates.count("in PyTorch") == 1


def test_a_border_is_fused_into_all_that_read_it():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.pad = nn.ZeroPad2d((0, 1, 0, 1))
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)

        def forward(self, x):
            y = self.pad(x)
            return self.a(y), self.b(y)

    _, told = planned(capture(Padded().eval(), (torch.zeros(1, 3, 8, 8),)).graph)
    assert told["pad"] == ("fused", "into a and b")


@settings(max_examples=60)
@given(graphs())
def test_every_layer_of_a_random_network_is_told_once(drawn):
    planned(drawn[0])


@pytest.mark.parametrize("network", [Mixed, CumulativeSum, lambda: nn.Conv2d(3, 4, 1)])
def test_from_the_cache_it_is_the_same(network, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path))
    network, x = network().eval(), torch.zeros(1, 3, 8, 8)
    first = compile_model(network, x, threads=1)

    def not_again(*_):
        raise AssertionError("compiled anew")

    monkeypatch.setattr(build, "compile_module", not_again)
    second = compile_model(network, x, threads=1)
    assert second.fates() == first.fates()
    assert str(second.fates()) == str(first.fates())
    kinds = [row.layer.kind for row in second.profile(x, rounds=1).layers]
    assert kinds == [row.layer.kind for row in first.profile(x, rounds=1).layers]


def test_a_profile_and_an_explanation_call_operations_by_the_same_names():
    network, x = create_model("mobilenet_v2"), torch.zeros(1, 3, 32, 32)
    compiled = compile_model(network, x, threads=1)
    fates, profile = compiled.fates(), compiled.profile(x, rounds=1)
    names = {row.layer.name: row.layer for row in profile.layers}
    for row in fates.rows:
        for name in row.operations:
            if row.verdict == "alone":
                assert (names[name].place, names[name].kind) == (row.place, row.kind)
            elif row.verdict == "by rows":
                assert names[name].kind == "by rows"
                assert row.place in names[name].path.split(" + ")


def test_networks_of_torch_compile_are_explained_too(monkeypatch):
    found = []
    compile_captured = compile_model.__globals__["compile_captured"]

    def spy(*args, **kwargs):
        found.append(compile_captured(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr("onebyone.compiler.backend.compile_captured", spy)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()).eval()
    torch._dynamo.reset()
    with torch.inference_mode():
        torch.compile(network, backend="onebyone")(torch.zeros(1, 3, 4, 4))
    (compiled,) = found
    fates = compiled.fates()
    check_text(fates)
    counts = [fates.count(verdict) for verdict in ("input", "alone", "fused")]
    assert counts == [1, 1, 1]


def test_long_names_lose_their_middle_and_long_details_go_on_below():
    rows = (
        LayerFate("a", "features.denseblock1.denselayer12.norm1.something", "batch norm", "alone"),
        LayerFate("b", "l_self_modules_features_modules_denseblock1_modules_x", "relu", "free"),
        LayerFate("c", "short", "scaled_dot_product_attention", "in PyTorch", (), "because " * 20),
    )
    fates = LayerFates(rows, 3, ())
    check_text(fates)
    lines = str(fates).splitlines()
    assert lines[3].startswith("features.….denselayer12.norm1.something ")
    assert lines[4].startswith("…_features_modules_denseblock1_modules_x ")
