"""What is measured, and of what; how long it took is nobody's business here."""

import pytest
import torch
from torch import nn

from onebyone.compiler import compile_model
from onebyone.errors import ModelError
from onebyone.explainer import count_graph, speed
from onebyone.explainer.ceilings import Ceilings
from onebyone.explainer.follow import follow
from onebyone.explainer.speed import measure_speed
from onebyone.graph import capture, capture_layers, interpret_nodes
from tests.helpers.oracles import timm

THREADS = 2


@pytest.fixture(autouse=True)
def _no_ceilings(monkeypatch):
    """Ceilings have tests of their own, and take long."""
    ceilings = Ceilings(macs_per_second=1.0, bytes_per_second=1.0)
    monkeypatch.setattr(speed, "measure_ceilings", lambda _: ceilings)


def measured(network, *shapes, **options):
    args = tuple(torch.rand(shape) for shape in shapes)
    followed = follow(network, args)
    options = {"threads": THREADS, "seconds": 0.0, **options}
    return measure_speed(followed.network, followed.graph, args, **options)


class Small(nn.Module):
    """Has all kinds of layers, some of which the compiler joins, and one that it doesn't know."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.expand = nn.Conv2d(8, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.project = nn.Conv2d(32, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = x + self.project(self.depthwise(self.expand(x).relu()).relu())
        return self.head(self.up(x).mean((2, 3)))


def test_every_layer_has_its_time_in_pytorch_and_compiled_but_for_what_pytorch_runs():
    found = measured(Small(), (1, 3, 16, 16))
    names = ["stem.0", "expand", "depthwise", "project", "up", "head"]
    assert [layer.name for layer in found.layers] == names
    assert all(layer.torch_seconds > 0 for layer in found.layers)
    by_name = {layer.name: layer.engine_seconds for layer in found.layers}
    assert by_name.pop("up") is None
    assert all(seconds > 0 for seconds in by_name.values())
    assert found.torch_seconds > 0
    assert found.engine_seconds > 0
    assert (found.threads, found.why_not_compiled, found.why_not_by_layer) == (THREADS, "", "")
    assert f"torch {torch.__version__}" in found.machine


def test_layers_that_run_as_one_share_its_time_by_multiply_adds():
    network = Small().eval()
    x = torch.rand(1, 3, 16, 16)
    compiled = compile_model(network, x, threads=THREADS)
    layers = count_graph(capture(network, (x,)).graph, params=0).layers
    profile, fates = compiled.profile(x), compiled.fates()
    found = speed._engine_times(profile, fates, layers)
    operations = {row.name: row.operations for row in fates.rows}
    assert len({operations[name] for name in found}) < len(found), "some are joined"
    own = {name for layer in layers for name in operations[layer.name]}
    helping = [row for row in profile.layers if row.layer.name.partition(" ")[0] in own]
    core_seconds = sum(row.seconds for row in helping)
    assert sum(found.values()) * THREADS == pytest.approx(core_seconds)
    macs = {layer.name: layer.macs for layer in layers}
    for one in found:
        for other in found:
            if operations[one] == operations[other]:
                assert found[one] * macs[other] == pytest.approx(found[other] * macs[one])


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "tf_efficientnetv2_b0"])
def test_what_is_timed_node_by_node_is_what_the_network_computes(name, monkeypatch):
    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    x = torch.rand(1, 3, 64, 64)
    graph = capture(network, (x,)).graph
    expected = dict(interpret_nodes(graph, [x]))
    run, seen = speed._run, []

    def checked(node, values, inputs):
        value = run(node, values, inputs)
        seen.append(node.name)
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, expected[node.name], rtol=1e-3, atol=1e-4)
        return value

    monkeypatch.setattr(speed, "_run", checked)
    with torch.inference_mode():
        names = [name for name, _ in speed._time_nodes(graph, [x])]
    assert seen == names == list(graph.nodes)


def test_values_go_when_their_last_reader_has_run(monkeypatch):
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(9))).eval()
    x = torch.rand(1, 3, 4, 4)
    graph = capture(network, (x,)).graph
    run, most = speed._run, []

    def counted(node, values, inputs):
        most.append(len(values))
        return run(node, values, inputs)

    monkeypatch.setattr(speed, "_run", counted)
    with torch.inference_mode():
        list(speed._time_nodes(graph, [x]))
    assert max(most) == 1


def test_a_round_is_thrown_away_and_the_median_of_the_others_counts(monkeypatch):
    rounds = iter([100.0, 1.0, 5.0, 2.0])
    monkeypatch.setattr(speed, "_time_nodes", lambda *_: [("input", next(rounds))])
    graph = capture(nn.Identity().eval(), (torch.rand(1, 3, 4, 4),)).graph
    found = speed._torch_times(graph, [], 3, lambda items, _: items)
    assert found == ({"input": 2.0}, "")


def test_a_network_that_cannot_be_compiled_is_timed_in_pytorch_and_says_why():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x) if x.sum() > 0 else x

    found = measured(Choosing(), (1, 3, 4, 4))
    assert found.engine_seconds is None
    assert found.why_not_compiled.startswith("what the model does depends on numbers")
    assert "\n" not in found.why_not_compiled
    assert [(layer.name, layer.engine_seconds) for layer in found.layers] == [("conv", None)]
    assert found.layers[0].torch_seconds > 0


def test_islands_are_timed_on_made_up_numbers():
    network = Small().eval()
    x = torch.rand(1, 3, 16, 16)
    graph = capture_layers(network, (x,))
    assert len(graph.inputs) > 1
    found = measure_speed(network, graph, (x,), threads=1, seconds=0.0)
    assert len(found.layers) == 6
    assert all(layer.torch_seconds > 0 for layer in found.layers)


def test_a_graph_that_cannot_be_run_leaves_the_rest(monkeypatch):
    def failing(*_):
        raise ValueError("no such\nnumber")

    monkeypatch.setattr(speed, "_run", failing)
    found = measured(Small(), (1, 3, 8, 8))
    assert found.why_not_by_layer == "no such"
    assert found.layers == ()
    assert found.torch_seconds > 0
    assert found.engine_seconds > 0


def test_arguments_by_name_and_what_is_written_into_them():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x, *, mask):
            mask.mul_(0.5)
            return self.conv(x) * mask

    network = Writing().eval()
    x, mask = torch.rand(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    graph = capture(network, (x,), {"mask": mask}).graph
    found = measure_speed(network, graph, (x,), {"mask": mask}, threads=1, seconds=0.0)
    assert found.why_not_compiled == found.why_not_by_layer == ""
    assert torch.equal(mask, torch.ones(1, 3, 4, 4))


def test_only_what_is_on_the_cpu_can_be_timed():
    network = nn.Conv2d(3, 3, 1).eval()
    graph = capture(network, (torch.rand(1, 3, 4, 4),)).graph
    with pytest.raises(ModelError, match=r"^only what is on the CPU .* weight is on meta; load"):
        measure_speed(network.to("meta"), graph, (torch.rand(1, 3, 4, 4),), threads=1)
    with pytest.raises(ModelError, match=r"an argument is on meta"):
        measure_speed(
            nn.Conv2d(3, 3, 1), graph, (torch.empty(1, 3, 4, 4, device="meta"),), threads=1
        )


def test_a_network_that_does_not_run_is_one_line():
    graph = capture(nn.Conv2d(3, 3, 1).eval(), (torch.rand(1, 3, 4, 4),)).graph
    with pytest.raises(ModelError, match=r"^the model does not run on the example: .* PyTorch$"):
        measure_speed(nn.Conv2d(4, 3, 1).eval(), graph, (torch.rand(1, 3, 4, 4),), threads=1)


def test_slow_networks_are_measured_less_often():
    now = iter([0.0, 10.0, 0.0, 0.02, 0.0, 1e-6])

    def rounds():
        return speed._rounds(lambda: None, 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: next(now))
        assert [rounds(), rounds(), rounds()] == [3, 10, 15]


def test_who_watches_sees_all_that_takes_long():
    seen = []

    def watch(items, description):
        seen.append(description)
        return items

    measured(nn.Conv2d(3, 3, 1), (1, 3, 4, 4), watch=watch)
    assert seen == ["measuring", "timing layers"]
