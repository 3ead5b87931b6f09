"""Weights as halves: what is stored is rounded once, and all else is float32.

So there is one law: results have the bits of a network whose weights were rounded beforehand.
"""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import onebyone
from onebyone.bench.accuracy import relative_rms
from onebyone.compiler import compile_model, plan_model
from onebyone.compiler import target as targets
from onebyone.compiler.build import build
from onebyone.compiler.jit import assembly, compile_module
from onebyone.compiler.kernels.dense.kernel import ConvolutionKernel
from onebyone.compiler.memory.formats import FP16, FP32
from onebyone.compiler.module import emit_network
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.processor import Processor
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.target import TARGETS, host_target
from onebyone.errors import CompileError
from onebyone.graph import Convolution, capture
from onebyone.graph.interpret import interpret
from onebyone.models import create_model
from tests.compiler.every_kind import EveryKind
from tests.compiler.test_convolution import convolutions
from tests.compiler.test_machine_code import SYSTEM, undefined_symbols
from tests.helpers.compiled import RUNNABLE, Net, check_values, count_terms
from tests.helpers.cross import build_program, missing

MISSING = missing()
HALVES = CompileOptions(numerics="fp16-weights")
DIRECT = CompileOptions(numerics="fp32-direct")
ABLE = [one for one in RUNNABLE if one.values[0].has_halves]
EVERY_HALF = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)


def run(graph, inputs, target, options=HALVES, threads=2, chosen=None):
    return NativeFunction(Memory(build([graph], target, None, options, chosen).binary, threads))(
        inputs
    )


def rounded(graph):
    """The same network, with the weights that are kept as halves rounded by PyTorch."""
    return graph.with_changes(
        {
            node.name: replace(node, weight=node.weight.detach().half().float())
            for node in graph
            if isinstance(node, Convolution) and not node.is_depthwise
        }
    )


def check_law(graph, inputs, target):
    """Weights were rounded, to the bit; and what is computed with them is right."""
    got = run(graph, inputs, target)
    before = rounded(graph)
    for one, other in zip(got, run(before, inputs, target, DIRECT, threads=1), strict=True):
        assert torch.equal(one, other)
    check_values(got, interpret(before, inputs, dtype=torch.float64), terms=count_terms(graph))


@pytest.mark.parametrize("target", ABLE)
@settings(max_examples=3)
@given(st.data())
def test_results_are_those_of_weights_rounded_beforehand(target, data):
    net, outputs = Net(), []
    for _ in range(3):
        shape, channels, facts = data.draw(convolutions(target.lanes))
        x = net.input(*shape)
        y = net.convolution(x, channels, **facts)
        if data.draw(st.booleans()):
            other = net.input(*net.shape(y))
            y = net.convolution(x, channels, residual=other, **facts)
        outputs.append(y)
    check_law(net.graph(*outputs), net.values(), target)


def test_every_kind_of_layer():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 17, 15)
    graph = rewrite_graph(capture(EveryKind().eval(), (x,)).graph)
    check_law(graph, [x], host_target("fp16-weights"))


@pytest.mark.parametrize("target", ABLE)
def test_every_half_is_converted_exactly(target):
    """Subnormal ones too; an infinite weight, or none, keeps its layer at float32."""
    finite = EVERY_HALF[EVERY_HALF.isfinite()]
    net = Net()
    y = net.convolution(net.input(1, 1, 1, 1), len(finite), bias=False)
    net.nodes[y] = replace(net.nodes[y], weight=finite.float().view(-1, 1, 1, 1))
    graph = net.graph(y)
    assert plan_execution(graph, target, HALVES).choices[y].unit == "halves"
    (got,) = run(graph, [torch.ones(1, 1, 1, 1)], target)
    assert torch.equal(got.flatten(), finite.float())


@pytest.mark.parametrize(
    ("weight", "unit"),
    [
        (65519.9, "halves"),
        (-65519.9, "halves"),
        (65520.0, "vector"),
        (-1e30, "vector"),
        (torch.inf, "vector"),
        (torch.nan, "vector"),
    ],
)
def test_a_layer_beyond_the_range_keeps_float32_and_says_so(weight, unit):
    network = nn.Sequential(nn.Conv2d(20, 40, 1), nn.ReLU(), nn.Conv2d(40, 24, 1)).eval()
    with torch.no_grad():
        network[0].weight[7, 3] = weight
    x = torch.randn(1, 20, 5, 5)
    fast = compile_model(network, x, numerics="fp16-weights", keep=False)
    fates = {row.place: row.detail for row in fast.fates().rows}
    assert ("weights as float32, as some are beyond halves" in fates["0"]) == (unit == "vector")
    assert ("weights as halves" in fates["0"]) == (unit == "halves")
    assert "weights as halves" in fates["2"]
    with torch.no_grad():
        network[2].weight.copy_(network[2].weight.half().float())
        if unit == "halves":
            network[0].weight.copy_(network[0].weight.half().float())
    expected = compile_model(network, x, numerics="fp32-direct", keep=False)(x)
    torch.testing.assert_close(fast(x), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("name", "least"), [("resnet18", 0.5), ("mobilenet_v2", 0.44)])
def test_weights_take_half_of_the_memory(name, least):
    """But for those of bands, which are few, and tables."""
    network, x = create_model(name).eval(), torch.zeros(1, 3, 224, 224)
    plans = {
        numerics: plan_model(network, x, numerics=numerics, target=TARGETS["avx512"])[0]
        for numerics in ("fp32-direct", "fp16-weights")
    }
    formats = {
        (bool(operation.stages), type(one.kernel)): one.work.weights.format
        for operation in plans["fp16-weights"].operations
        for one in operation.stages or (operation,)
        if "weights" in one.work.offsets()
    }
    assert formats[False, ConvolutionKernel] == FP16
    assert all(one == FP32 for key, one in formats.items() if key != (False, ConvolutionKernel))
    direct, halves = (plan.constants.size for plan in plans.values())
    assert least - 0.01 < 1 - halves / direct < 0.51


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_bits_are_the_same_for_any_batch_and_threads(name):
    network = create_model(name).eval()
    x = torch.randn(3, 3, 96, 96)
    facts = {"numerics": "fp16-weights", "keep": False}
    together = compile_model(network, x, threads=2, **facts)(x)
    alone = compile_model(network, x[:1], threads=1, **facts)
    assert all(torch.equal(alone(x[i : i + 1])[0], together[i]) for i in range(3))
    with torch.no_grad():
        assert 1e-5 < relative_rms(together, network.double()(x.double())) < 2e-3


def test_bands_give_the_bits_of_one_by_one():
    network = nn.Sequential(
        nn.Conv2d(16, 96, 1), nn.ReLU6(), nn.Conv2d(96, 96, 3, 2, 1, groups=96), nn.ReLU6(),
        nn.Conv2d(96, 24, 1),
    ).eval()  # fmt: skip
    x = torch.randn(2, 16, 112, 112)
    graph, target = rewrite_graph(capture(network, (x,)).graph), host_target("fp16-weights")
    bands = plan_execution(graph, target, HALVES).choices
    assert any(choices.band for choices in bands.values())
    alone = plan_execution(graph, replace(target, level2_bytes=1024), HALVES).choices
    assert not any(choices.band for choices in alone.values())
    one, other = (run(graph, [x], target, chosen=chosen)[0] for chosen in (bands, alone))
    assert torch.equal(one, other)


def test_tuning_changes_no_bit():
    network = nn.Sequential(nn.Conv2d(3, 48, 3, 2), nn.ReLU(), nn.Conv2d(48, 96, 1)).eval()
    x = torch.randn(1, 3, 40, 40)
    facts = {"numerics": "fp16-weights", "keep": False}
    tuned = compile_model(network, x, tune="measure", **facts)
    assert torch.equal(tuned(x), compile_model(network, x, **facts)(x))


def test_both_doors_and_the_cache():
    network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.ReLU(), nn.Conv2d(40, 8, 1)).eval()
    x = torch.randn(1, 3, 20, 20)
    one = onebyone.compile(network, x, numerics="fp16-weights")(x)
    again = onebyone.compile(network, x, numerics="fp16-weights")(x)
    with torch.no_grad():
        options = {"numerics": "fp16-weights"}
        other = torch.compile(network, backend="onebyone", options=options)(x)
    assert torch.equal(one, again)
    assert torch.equal(one, other)
    assert not torch.equal(one, onebyone.compile(network, x)(x))


@pytest.mark.parametrize("name", ["avx2", "neon"])
def test_code_calls_nothing_but_the_system(name):
    graph = capture(EveryKind().eval(), (torch.randn(2, 3, 17, 15),)).graph
    target, graph = TARGETS[name], rewrite_graph(graph)
    module = emit_network([plan_execution(graph, target, HALVES)], target)
    assert undefined_symbols(compile_module(module, target)) <= SYSTEM


CONVERSIONS = {
    "avx512": r"vcvtph2ps\s.*%zmm",
    "avx2": r"vcvtph2ps\s.*%ymm",
    "neon": r"fcvtl\s+v\d+\.4s",
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_vectors_are_converted_whole(name):
    target = TARGETS[name]
    graph = capture(nn.Conv2d(32, 4 * target.lanes, 1).eval(), (torch.randn(1, 32, 4, 4),)).graph
    plan = plan_execution(graph, target, HALVES)
    text = assembly(emit_network([plan], target), target)
    assert re.search(CONVERSIONS[name], text)
    assert not re.search(r"vcvtph2ps\s+%xmm\d+, %xmm|fcvt\s+s", text)


@pytest.mark.parametrize("name", ["baseline"])
def test_a_target_without_it_is_refused(name):
    with pytest.raises(
        CompileError,
        match=r"numerics.*fp16-weights.* converts halves \(avx512, .*avx2, neon\); 'baseline' does",
    ):
        compile_model(
            nn.Conv2d(3, 4, 1).eval(),
            torch.zeros(1, 3, 4, 4),
            numerics="fp16-weights",
            target=TARGETS[name],
        )


def test_a_processor_without_it_is_told(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(targets, "this_processor", lambda: Processor("Core 2", frozenset()))
    with pytest.raises(
        CompileError, match=r"converts halves \(f16c.* Core 2 does not; 'fp32' runs"
    ):
        host_target.__wrapped__("fp16-weights")
    assert host_target.__wrapped__("fp32").name == "baseline"


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_aarch64(tmp_path):
    net = Net()
    x = net.input(2, 19, 6, 5)
    y = net.convolution(x, 37, (3, 3), padding=(1, 1, 1, 1))
    outputs = [y, net.convolution(y, 20, residual=net.convolution(x, 20), groups=1)]
    graph, values = net.graph(*outputs), net.values()
    programs = []
    for name, one, options in (("given", graph, HALVES), ("rounded", rounded(graph), DIRECT)):
        (tmp_path / name).mkdir()
        programs.append(build_program(one, tmp_path / name, options))
    for one, other in zip(*(program.run(values) for program in programs), strict=True):
        assert torch.equal(one, other)
