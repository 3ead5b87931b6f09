"""bfloat16: values are rounded between layers, sums are not.

Small whole numbers are bfloat16, and their sums exact, whatever the order; so what is computed from
them is known to the bit.
"""

import ctypes
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import onebyone
from onebyone.bench.accuracy import relative_rms
from onebyone.compiler import compile_model
from onebyone.compiler import target as targets
from onebyone.compiler.abi import ContextWord
from onebyone.compiler.build import build
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.processor import Processor
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime import native
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.target import TARGETS, can_run, host_target
from onebyone.errors import CompileError
from onebyone.graph import Convolution, Function, capture
from onebyone.graph.interpret import interpret
from onebyone.models import create_model
from tests.compiler.every_kind import EveryKind
from tests.compiler.test_convolution import convolutions
from tests.helpers.compiled import RUNNABLE_BF16, Net

BF16 = CompileOptions(numerics="bf16")
needs_bf16 = pytest.mark.skipif(
    not any(target.bf16 and can_run(target) for target in TARGETS.values()),
    reason="this processor does not multiply bfloat16",
)


class WholeNet(Net):
    """A graph of small whole numbers, whose results are no larger than 256: exact in bfloat16."""

    def numbers(self, *shape):
        return torch.randint(-1, 2, shape, generator=self.generator).float()

    def convolution(self, x, channels, kernel_size=(1, 1), **facts):
        name = super().convolution(x, channels, kernel_size, **facts)
        node = self.nodes[name]
        assert isinstance(node, Convolution)
        node.weight.sign_()
        return name


CLAMP = Function("clamp", (-3.0, 3.0))


def run(graph, inputs, target, threads=2):
    return NativeFunction(Memory(build([graph], target, None, BF16).binary, threads))(inputs)


def check_exact(graph, inputs, target):
    """What is stored is what float64 gives, rounded once."""
    expected = [one.bfloat16().double() for one in interpret(graph, inputs, dtype=torch.float64)]
    for got, wanted in zip(run(graph, inputs, target), expected, strict=True):
        torch.testing.assert_close(got.bfloat16().double(), wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("target", RUNNABLE_BF16)
@settings(max_examples=25)
@given(st.data())
def test_convolutions_of_whole_numbers_are_exact(target, data):
    net, outputs = WholeNet(), []
    for _ in range(3):
        shape, channels, facts = data.draw(convolutions(32))
        facts["activation"] = data.draw(st.sampled_from([None, Function("relu"), CLAMP]))
        x = net.input(*shape)
        y = net.convolution(x, channels, **facts)
        if data.draw(st.booleans()):
            other = net.input(*net.shape(y))
            y = net.convolution(x, channels, residual=other, **facts)
        outputs.append(y)
    check_exact(net.graph(*outputs), net.values(), target)


@pytest.mark.parametrize("target", RUNNABLE_BF16)
@settings(max_examples=12)
@given(st.data())
def test_chains_are_exact(target, data):
    """Convolutions that read each other, with and without borders between, in parts of buffers."""
    draw = data.draw
    net = WholeNet()
    size = draw(st.sampled_from([(7, 7), (14, 14), (5, 19), (28, 3), (1, 1)]))
    x = net.input(draw(st.integers(1, 3)), draw(st.sampled_from([3, 32, 64, 70])), *size)
    outputs = []
    for _ in range(4):
        depth = draw(st.sampled_from([16, 24, 32, 64, 96, 160]))
        kernel, padding = draw(st.sampled_from([((1, 1), 0), ((3, 3), 1), ((1, 3), 1)]))
        padding = (padding * (kernel[0] > 1),) * 2 + (padding,) * 2
        facts = {"padding": padding, "activation": CLAMP}
        y = net.convolution(x, depth, kernel, **facts)
        residual = y if draw(st.booleans()) else None
        z = net.convolution(x, depth, (1, 1), residual=residual, activation=CLAMP)
        outputs += [y, z]
        x = z if draw(st.booleans()) else y
    check_exact(net.graph(*outputs), net.values(), target)


@pytest.mark.parametrize("target", RUNNABLE_BF16)
def test_what_is_no_number_stays_at_its_pixels(target):
    """Neither pixels that are skipped nor what fills up 32 numbers let one through."""
    net, outputs = WholeNet(), []
    for channels in (20, 32, 64):
        x = net.input(1, channels, 14, 14)
        outputs.append(net.convolution(x, 40, (3, 3), padding=(1, 1, 1, 1)))
        outputs.append(net.convolution(x, 40))
        outputs.append(net.convolution(x, 24, stride=(2, 2)))
    values = net.values()
    for value in values:
        value[0, 3, 5, 13] = torch.nan
        value[0, 0, 13, 0] = torch.inf
    check_exact(net.graph(*outputs), values, target)


@pytest.mark.parametrize("target", RUNNABLE_BF16)
def test_bands_give_the_bits_of_one_by_one(target):
    network = nn.Sequential(
        nn.Conv2d(16, 96, 1), nn.ReLU6(), nn.Conv2d(96, 96, 3, 2, 1, groups=96), nn.ReLU6(),
        nn.Conv2d(96, 24, 1), nn.Conv2d(24, 144, 1), nn.ReLU6(),
        nn.Conv2d(144, 144, 5, 1, 2, groups=144), nn.ReLU(), nn.Conv2d(144, 33, 1),
    ).eval()  # fmt: skip
    x = torch.randn(2, 16, 112, 112)
    graph = rewrite_graph(capture(network, (x,)).graph)
    bands = plan_execution(graph, target, BF16).choices
    assert any(choices.band for choices in bands.values())
    alone = plan_execution(graph, replace(target, level2_bytes=1024), BF16).choices
    assert not any(choices.band for choices in alone.values())
    one, other = (
        NativeFunction(Memory(build([graph], target, None, BF16, chosen).binary, 2))([x])[0]
        for chosen in (bands, alone)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("target", RUNNABLE_BF16)
def test_every_kind_is_as_near_as_bfloat16_allows(target):
    network = EveryKind().eval()
    x = torch.randn(2, 3, 17, 15)
    graph = rewrite_graph(capture(network, (x,)).graph)
    expected = interpret(graph, [x], dtype=torch.float64)
    for got, wanted in zip(run(graph, [x], target), expected, strict=True):
        assert relative_rms(got, wanted) < 0.02


@needs_bf16
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_bits_are_the_same_for_any_batch_and_threads(name):
    network = create_model(name).eval()
    x = torch.randn(3, 3, 96, 96)
    together = compile_model(network, x, numerics="bf16", threads=2, keep=False)(x)
    alone = compile_model(network, x[:1], numerics="bf16", threads=1, keep=False)
    assert all(torch.equal(alone(x[i : i + 1])[0], together[i]) for i in range(3))
    with torch.no_grad():
        expected = network.double()(x.double())
    assert 1e-4 < relative_rms(together, expected) < 0.05


@needs_bf16
def test_tuning_changes_no_bit():
    network = nn.Sequential(
        nn.Conv2d(3, 48, 3, 2), nn.ReLU(), nn.Conv2d(48, 96, 1), nn.Conv2d(96, 96, 3, groups=4)
    ).eval()
    x = torch.randn(1, 3, 40, 40)
    tuned = compile_model(network, x, numerics="bf16", tune="measure", keep=False)
    assert torch.equal(tuned(x), compile_model(network, x, numerics="bf16", keep=False)(x))


@needs_bf16
@pytest.mark.parametrize("columns", [17, 19, 33, 65])
def test_bands_whose_last_tile_is_not_full(columns):
    """Such a tile reads behind the row, in the thread's own memory."""
    network = nn.Sequential(
        nn.Conv2d(32, 640, 3, padding=1, groups=32), nn.Conv2d(640, 640, 3, padding=1, groups=640),
        nn.Conv2d(640, 24, 1),
    ).eval()  # fmt: skip
    x = torch.randn(1, 32, 9, columns)
    got = compile_model(network, x, numerics="bf16", threads=2, keep=False)(x)
    with torch.no_grad():
        assert relative_rms(got, network.double()(x.double())) < 0.02


@needs_bf16
def test_both_doors_and_the_cache():
    network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.ReLU(), nn.Conv2d(40, 8, 1)).eval()
    x = torch.randn(1, 3, 20, 20)
    one = onebyone.compile(network, x, numerics="bf16")(x)
    again = onebyone.compile(network, x, numerics="bf16")(x)
    with torch.no_grad():
        other = torch.compile(network, backend="onebyone", options={"numerics": "bf16"})(x)
    assert torch.equal(one, again)
    assert torch.equal(one, other)
    assert not torch.equal(one, onebyone.compile(network, x)(x))


def test_a_target_without_it_is_refused():
    network = nn.Conv2d(3, 4, 1).eval()
    with pytest.raises(CompileError, match=r"numerics.*bf16.*avx512-bf16, amx.*'avx2' does not"):
        compile_model(network, torch.zeros(1, 3, 4, 4), numerics="bf16", target=TARGETS["avx2"])


def test_a_processor_without_it_is_told(monkeypatch):
    flags = frozenset(["avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"])
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(targets, "this_processor", lambda: Processor("Core 4", flags))
    with pytest.raises(CompileError, match=r"bfloat16 .*Core 4 does not; 'fp32' runs here"):
        host_target.__wrapped__("bf16")
    assert not host_target.__wrapped__("fp32").bf16


def test_matrix_tiles_are_asked_for(monkeypatch):
    """A processor may have them and the system not give them; then pairs in vectors are used."""
    flags = targets.TARGETS["amx"].needs
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(targets, "this_processor", lambda: Processor("Xeon", flags))
    for may, name in ((True, "amx"), (False, "avx512-bf16")):
        monkeypatch.setattr(targets, "may_use_tiles", lambda may=may: may)
        assert host_target.__wrapped__("bf16").name == name


class Alone:
    """Stand in for a pool whose only thread that comes is one of its workers."""

    def __init__(self, thread):
        self.lock, self.thread = nullcontext(), thread

    def run(self, address):
        context = (ctypes.c_int64 * len(ContextWord)).from_address(address)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(context[ContextWord.PREPARE])(address)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        kind(context[ContextWord.RUN])(address, self.thread)


@pytest.mark.parametrize("target", RUNNABLE_BF16)
@pytest.mark.parametrize("thread", [0, 1, 2])
def test_what_a_chunk_keeps_is_gone_when_another_operation_has_had_the_memory(
    monkeypatch, target, thread
):
    """Who shares out the work of others goes from one operation to the next, and back."""
    net = WholeNet()
    x = net.input(1, 48, 28, 28)
    # Copied pixels serve all blocks of channels; those of the other one, which has but one chunk
    # for them, lie in the same place.
    names = [
        net.convolution(x, 256, stride=(2, 2)),
        net.convolution(x, 96, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
    ]
    graph, inputs = net.graph(*names), net.values()
    choices = plan_execution(graph, target, BF16).choices
    parts = dict(zip(names, [(1, 8), (3, 1)], strict=True))
    chosen = {
        name: replace(choices[name], parts=parts[name], inner="pixels", shared="pixels")
        for name in names
    }
    built = build([graph], target, None, BF16, chosen)
    (expected, other) = NativeFunction(Memory(built.binary, 1))(inputs)
    monkeypatch.setattr(native, "pool_of", lambda threads: Alone(thread))
    got = NativeFunction(Memory(built.binary, 3))(inputs)
    assert torch.equal(got[0], expected)
    assert torch.equal(got[1], other)
