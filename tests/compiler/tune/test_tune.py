"""Tuning: what is measured, what comes of it, and that it never changes a bit."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from onebyone.compiler import compile_model, plan_model, tune_model
from onebyone.compiler.build import build_variants
from onebyone.compiler.choose.choose import choose
from onebyone.compiler.machine.calibrate import calibrated_target
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.target import TARGETS
from onebyone.compiler.tune import tune as module
from onebyone.compiler.tune.candidates import CLOSE, find_candidates
from onebyone.compiler.tune.wisdom import Wisdom
from onebyone.errors import ShapeError, UnknownNameError
from onebyone.graph import capture
from onebyone.models import create_model

X = torch.randn(1, 8, 20, 20)


class Small(nn.Module):
    """A 3x3 for Winograd, two equal 1x1s, a grouped one, a depthwise one, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(8, 48, 3, padding=1)
        self.mix = nn.Sequential(nn.Conv2d(48, 48, 1), nn.ReLU(), nn.Conv2d(48, 48, 1), nn.ReLU())
        self.grouped = nn.Conv2d(48, 32, 1, groups=2)
        self.deep = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.mix(self.stem(x).relu())
        return self.head(self.deep(self.grouped(x)).mean((2, 3)))


@pytest.fixture
def network():
    return Small().eval()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    calibrated_target()
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def clock(monkeypatch):
    """Times that we tell: a node's seconds by how it runs; also how much faster the whole is."""

    class Clock:
        asked = 0
        gain = 2.0
        stop_after = 99

        def seconds(self, name, choices):
            return 1.0

        def measure(self, variants, threads):
            if self.asked == self.stop_after:
                raise KeyboardInterrupt
            self.asked += 1
            return [
                {name: [self.seconds(name, one)] * 3 for name, one in chosen.items()}
                for chosen in variants
            ]

    clock = Clock()

    def build(some, target, options, variants):
        expected = choose(some, target, options)
        return [expected | chosen for chosen in variants]

    monkeypatch.setattr(module, "build_variants", build)
    monkeypatch.setattr(module, "measure_variants", clock.measure)
    monkeypatch.setattr(module, "compare_whole", lambda both, threads: clock.gain)
    return clock


def graph_of(network, x=X):
    return rewrite_graph(capture(network, (x,)).graph)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_is_expected_comes_first_and_the_rest_is_close(network, target):
    graph, options = graph_of(network), CompileOptions()
    choices = choose(graph, target, options)
    found = find_candidates(graph, target, options, 16)
    assert {"stem", "mix_0", "mix_2", "grouped"} <= {name.replace(".", "_") for name in found}
    for name, ways in found.items():
        assert ways[0] == choices[name]
        assert len(set(ways)) == len(ways) <= 16
        assert {way.winograd for way in ways} == {choices[name].winograd}
        assert all(way.seconds <= CLOSE * 1.05 * ways[0].seconds for way in ways)


def test_no_way_changes_a_bit(network):
    graph, target = graph_of(network), calibrated_target()
    found = find_candidates(graph, target, CompileOptions(), 16)
    expected = compile_model(network, X, threads=1)(X)
    for number in range(max(map(len, found.values()))):
        chosen = {name: ways[number % len(ways)] for name, ways in found.items()}
        got = compile_model(network, X, threads=1, chosen=chosen, keep=False)(X)
        assert torch.equal(got, expected)


def test_variants_share_what_is_the_same_and_give_the_same_bits(network):
    graph, target, options = graph_of(network), calibrated_target(), CompileOptions(threads=1)
    ways = find_candidates(graph, target, options, 16)
    other = {name: some[-1] for name, some in ways.items()}
    one, twins, both, several = (
        build_variants(graph, target, options, variants).binary
        for variants in ([{}], [{}, {}], [{}, other], [{}, other, other])
    )
    assert len(twins.code) < 1.5 * len(one.code)
    assert torch.equal(twins.constants, one.constants)
    assert torch.equal(several.constants, both.constants)
    memory = Memory(several, threads=1)
    first, *others = (NativeFunction(memory, number)([X])[0] for number in range(3))
    assert all(torch.equal(first, one) for one in others)


def test_the_fastest_way_is_found_kept_and_used(network, clock):
    clock.seconds = lambda name, one: 0.5 if one.inner == "pixels" else 1.0
    tuning = tune_model(network, X, threads=1)
    assert tuning.measured > 0
    assert tuning.gain == clock.gain
    assert tuning.chosen
    assert all(one.inner == "pixels" for one in tuning.chosen.values())
    for layer in tuning.layers:
        if layer.finding:
            assert layer.finding.seconds == pytest.approx(
                0.5 if layer.chosen.inner == "pixels" else 1.0
            )
    asked = clock.asked
    again = tune_model(network, X, threads=1)
    assert clock.asked == asked
    assert again.measured == 0
    assert again.chosen == tuning.chosen


def test_a_tuned_network_gives_the_same_bits_and_is_compiled_once(network, clock, monkeypatch):
    clock.seconds = lambda name, one: one.seconds if one.inner == "channels" else one.seconds / 2
    chosen = tune_model(network, X, threads=1).chosen
    assert chosen
    monkeypatch.undo()
    untuned = compile_model(network, X, threads=1, keep=False)
    tuned = compile_model(network, X, threads=1, tune="measure", keep=False)
    assert torch.equal(tuned(X), untuned(X))


def test_layers_of_one_kind_run_alike(network, clock):
    clock.seconds = lambda name, one: 0.9 if one.tile and one.tile.pixels % 2 else 1.0
    tuning = tune_model(network, X, threads=1)
    first, second = (one for one in tuning.layers if one.name.startswith("mix"))
    assert first.finding is not None
    assert first.finding == second.finding
    assert first.chosen.tile == second.chosen.tile


def test_what_may_be_noise_changes_nothing(network, clock):
    clock.seconds = lambda name, one: 0.98 if one.inner == "pixels" else 1.0
    assert tune_model(network, X, threads=1).chosen == {}


def test_what_gains_nothing_in_all_is_taken_back(network, clock):
    clock.seconds = lambda name, one: 0.5 if one.inner == "pixels" else 1.0
    clock.gain = 0.99
    tuning = tune_model(network, X, threads=1)
    assert tuning.chosen == {}
    assert tuning.gain == 1.0
    assert tune_model(network, X, threads=1).measured == 0


def test_no_time_is_no_tuning(network, clock):
    tuning = tune_model(network, X, threads=1, seconds=0)
    assert (tuning.measured, tuning.chosen, clock.asked) == (0, {}, 0)
    assert tune_model(network, X, threads=1).measured > 0


def test_an_interruption_loses_nothing_that_was_measured(network, clock):
    clock.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        tune_model(network, X, threads=1, tune="patient")
    known = Wisdom(calibrated_target()).findings
    assert {finding.ways for finding in known.values()} <= {1, 2, 3, 4}
    assert known
    clock.stop_after = 99
    tune_model(network, X, threads=1, tune="patient")
    assert max(one.ways for one in Wisdom(calibrated_target()).findings.values()) > 4


def test_more_patience_measures_more(network, clock):
    tune_model(network, X, threads=1)
    asked = clock.asked
    assert tune_model(network, X, threads=1, tune="patient").measured > 0
    assert clock.asked > asked
    asked = clock.asked
    tune_model(network, X, threads=1)
    assert clock.asked == asked


def test_another_number_of_threads_is_measured_anew(network, clock):
    tune_model(network, X, threads=1)
    assert tune_model(network, X, threads=2).measured > 0


def test_someone_who_watches_is_told_how_far_it_is(network, clock):
    seen = []
    tune_model(network, X, threads=1, watch=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == 3


def test_it_runs_in_earnest():
    network = nn.Sequential(nn.Conv2d(8, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 1)).eval()
    tuning = tune_model(network, X, threads=1)
    assert tuning.measured == 2
    assert tuning.gain >= 1.0
    assert all(one.finding.seconds > 0 for one in tuning.layers)
    compiled = compile_model(network, X, threads=1, tune="measure")
    assert torch.allclose(compiled(X), network(X), atol=1e-5)
    assert compiled.options.tune == "measure"


def test_networks_in_parts_are_tuned_part_by_part(clock):
    class Parted(Small):
        def forward(self, x):
            x = self.mix(self.stem(x).relu())
            return self.grouped(torch.cummax(x, 1).values)

    tuning = tune_model(Parted().eval(), X, threads=1)
    places = {layer.place for layer in tuning.layers}
    assert {"stem", "grouped"} <= places


def test_as_text_in_a_hundred_columns(clock):
    clock.seconds = lambda name, one: 0.5 if one.inner == "pixels" else 1.0
    text = str(tune_model(create_model("resnet18"), torch.zeros(1, 3, 64, 64), threads=1))
    assert max(map(len, text.splitlines())) <= 100
    assert "expected" in text
    assert "layer1.0.conv1" in text
    assert "times as fast" in text


def test_words_that_are_none(network):
    with pytest.raises(UnknownNameError, match="'measures'"):
        compile_model(network, X, tune="measures")
    with pytest.raises(UnknownNameError, match='"estimate" measures nothing'):
        tune_model(network, X, tune="estimate")
    with pytest.raises(ShapeError, match="threads"):
        tune_model(network, X, threads=0)


def test_choices_of_the_caller_count_more(network, clock, monkeypatch):
    clock.seconds = lambda name, one: 0.5 if one.inner == "pixels" else 1.0
    tuning = tune_model(network, X, threads=1)
    monkeypatch.undo()
    (plan,) = plan_model(network, X)
    name = next(iter(tuning.chosen))
    own = replace(plan.choices[name], parts=(1, 1))
    compiled = compile_model(network, X, threads=1, tune="measure", chosen={name: own}, keep=False)
    layers = {row.layer.name: row.layer for row in compiled.profile(X).layers}
    assert layers[name].chunks == 1
