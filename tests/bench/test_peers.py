"""The real adapters, on a network with all that matters to them."""

import copy
import operator
import os
import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from onebyone.bench import (
    DEFAULT_PEERS,
    PEERS,
    Subject,
    check_peers,
    compare,
    engines,
    find_engine,
    find_engines,
    peers,
)
from onebyone.bench.absent import why_absent
from onebyone.bench.accuracy import float64_output, relative_rms
from onebyone.bench.folding import fold_network
from onebyone.bench.onnx_export import OnnxExport
from onebyone.bench.peers import eager, executorch, inductor, ncnn
from onebyone.bench.subject import draw_weights
from onebyone.compiler import TARGETS
from onebyone.compiler.target import can_run
from onebyone.errors import EngineError, MissingPackageError, ModelError, UnknownNameError
from onebyone.exporting.quiet import silent


def modules(name):
    """What a peer imports."""
    peer = engines._peer(name)
    packages = (peer.PACKAGE, *getattr(peer, "NEEDS", ()), *getattr(peer, "CONVERTERS", ()))
    return [package.replace("-", "_") for package in packages if package]


NEEDS = {
    name: modules(name)
    for name in PEERS
    if name != "inductor"  # it compiles for tens of seconds, and has tests of its own
}


class Tiny(nn.Module):
    """A convolution with padding, a depthwise one, a 1x1 and a residual, each with a batch norm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), norm(8))
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), norm(8))
        self.pointwise = nn.Sequential(nn.Conv2d(8, 8, 1), norm(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.pointwise(torch.relu(self.depthwise(x))))
        return self.head(x.mean((2, 3)))


def norm(channels):
    return nn.BatchNorm2d(channels)


@pytest.fixture(scope="module")
def subject():
    images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    return Subject("tiny", draw_weights(Tiny().eval(), images), (3, 9, 9))


# JAX, which LiteRT's converter loads, warns of every fork from then on.
@pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NEEDS)
def test_adapters_compute_what_the_network_does(subject, name, batch):
    for package in NEEDS[name]:
        if find_spec(package) is None:
            pytest.skip(f"{name} needs {package}")
    [_, engine] = find_engines([name])
    images = subject.images(batch)
    before = copy.deepcopy(subject.network.state_dict())
    run = engine.build(subject.network, images, 1)
    others = torch.randn(images.shape)
    for given in (images, others, images):
        assert relative_rms(run(given), float64_output(subject.network, given)) < 1e-6
    after = subject.network.state_dict()
    for key, value in before.items():
        assert torch.equal(after[key], value), key
        assert after[key].stride() == value.stride(), key


def skip_without(engine):
    for package in NEEDS.get(engine.name, ()):
        if find_spec(package) is None:
            pytest.skip(f"{engine.name} needs {package}")
    if engine.name in ("onebyone", "openvino") and not any(
        target.bf16 and can_run(target) for target in TARGETS.values()
    ):
        pytest.skip("this processor does not multiply bfloat16")


@pytest.mark.parametrize("name", ["onebyone", "eager", "openvino"])
def test_engines_in_bfloat16_have_its_digits_and_no_more(subject, name):
    """The error says that it is bfloat16, and not float32 under another name."""
    engine = find_engine(name, "bf16")
    skip_without(engine)
    before = copy.deepcopy(subject.network.state_dict())
    for batch in (1, 3):
        images = subject.images(batch)
        run = engine.build(subject.network, images, 1)
        for given in (images, torch.randn(images.shape)):
            output, expected = run(given), float64_output(subject.network, given)
            assert output.dtype == torch.float32
            assert 1e-4 < relative_rms(output, expected) < 2e-2
    assert all(torch.equal(subject.network.state_dict()[key], before[key]) for key in before)


def test_inductor_in_bfloat16_leaves_the_float32_program_alone(subject):
    """Both wait for their turns in one process, where compiling would be taken for computing."""
    images = subject.images(1)
    single, half = (
        engine.build(subject.network, images, 1) for engine in inductor.engines(OnnxExport())
    )
    torch.compiler.set_stance("fail_on_recompile")
    try:
        outputs = [single(images), half(images)]
    finally:
        torch.compiler.set_stance("default")
    errors = [relative_rms(one, float64_output(subject.network, images)) for one in outputs]
    assert errors[0] < 1e-6
    assert 1e-4 < errors[1] < 2e-2


def test_who_computes_in_bfloat16():
    every = find_engines(PEERS, "bf16")
    assert [engine.label for engine in every if engine.numerics == "fp32"] == ["onebyone", *PEERS]
    assert [engine.label for engine in every if engine.numerics == "bf16"] == [
        "onebyone bf16",
        "eager bf16",
        "inductor bf16",
        "openvino bf16",
    ]
    line = "^the engine 'ncnn' has no numerics 'bf16'; it has 'fp32'$"
    with pytest.raises(UnknownNameError, match=line):
        find_engine("ncnn", "bf16")
    line = r"^`numerics` \(='fp16'\) must be 'fp32' or 'bf16'$"
    with pytest.raises(UnknownNameError, match=line):
        find_engines([], "fp16")


def test_folding_leaves_no_batch_norm(subject):
    folded = fold_network(subject.network, subject.images(1))
    assert isinstance(folded, torch.fx.GraphModule)
    operations = {node.target for node in folded.graph.nodes}
    assert torch.ops.aten.conv2d.default in operations
    assert torch.ops.aten.batch_norm.default not in operations
    weights = [p for p in folded.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folding_is_exact_whatever_the_layers_have(bias, affine):
    images = torch.randn(2, 3, 9, 9)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine))
    network = draw_weights(network.eval(), images)
    folded = fold_network(network, images)
    with torch.no_grad():
        assert relative_rms(folded(images), float64_output(network, images)) < 1e-6


def test_a_batch_norm_stays_where_others_read_its_convolution():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y)

    images = torch.randn(2, 3, 5, 5)
    network = draw_weights(Shared().eval(), images)
    folded = fold_network(network, images)
    with torch.no_grad():
        assert relative_rms(folded(images), float64_output(network, images)) < 1e-6


def test_a_network_that_cannot_be_traced_runs_unfolded():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x) if float(x.sum()) > 0 else self.conv(-x)

    network = Branching().eval()
    images = torch.randn(1, 3, 5, 5)
    folded = fold_network(network, images)
    assert isinstance(folded, Branching)
    assert folded is not network
    assert network.conv.weight.is_contiguous()
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images))


def test_what_tracers_write_stays_out_of_a_comparison(capfd):
    """A network with graph breaks runs in inductor, cannot be ONNX, and is one line at most."""
    pytest.importorskip("onnxscript")

    class Breaking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            torch._dynamo.graph_break()
            x = self.conv(x)
            return x if float(x.sum()) > 0 else -x

    network, images = Breaking().eval(), torch.randn(1, 3, 5, 5)
    expected = float64_output(network, images)
    assert relative_rms(inductor.build(network, images, 1)(images), expected) < 1e-6
    assert relative_rms(eager.build(network, images, 1)(images), expected) < 1e-6
    with pytest.raises(ModelError) as error:
        OnnxExport()(network, images)
    assert str(error.value).startswith("torch cannot write it as ONNX: ")
    assert "torch.export" not in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_engines_that_read_onnx_share_one_export(subject, monkeypatch):
    pytest.importorskip("onnxscript")
    exported = []

    class Program:
        model = SimpleNamespace(graph=SimpleNamespace(outputs=[]), metadata_props={})

        class model_proto:  # noqa: N801
            @staticmethod
            def SerializeToString():  # noqa: N802
                return f"file {len(exported)}".encode()

    def fake(model, arguments, **_):
        exported.append(model)
        return Program

    monkeypatch.setattr("torch.onnx.export", fake)
    export = OnnxExport()
    images = subject.images(1)
    assert export(subject.network, images) == b"file 1"
    assert export(subject.network, images) == b"file 1"
    assert export(subject.network, subject.images(2)) == b"file 2"
    assert export(nn.ReLU(), subject.images(2)) == b"file 3"


def test_ours_comes_first_and_peers_once():
    names = [engine.name for engine in find_engines()]
    assert names == ["onebyone", *DEFAULT_PEERS]
    assert [engine.name for engine in find_engines(["eager", "eager"])] == ["onebyone", "eager"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "onxruntime",
            "no engine 'onxruntime' to compare with; did you mean 'onnxruntime'? "
            f"there are {', '.join(PEERS)}",
        ),
        (
            "tvm",
            f"no engine 'tvm' to compare with; there are {', '.join(PEERS)}",
        ),
    ],
)
def test_an_unknown_peer_is_named(name, line):
    with pytest.raises(UnknownNameError) as caught:
        find_engines(["eager", name])
    assert str(caught.value) == line


def test_all_are_all():
    assert check_peers(["eager", "all"]) == list(PEERS)
    assert set(DEFAULT_PEERS) < set(PEERS)


LITERT = "pip install 'onebyone[litert]', then pip install --no-deps litert-converter litert-torch"


@pytest.mark.parametrize(
    ("name", "missing", "line"),
    [
        ("ncnn", "ncnn", "ncnn is not installed: pip install 'onebyone[ncnn]'"),
        ("ncnn", "pnnx", "pnnx is not installed: pip install 'onebyone[ncnn]'"),
        ("executorch", "executorch", "executorch is not installed: pip install 'onebyone[executor"),
        ("litert", "ai_edge_litert", f"ai-edge-litert is not installed: {LITERT}"),
        ("litert", "litert_torch", f"litert-torch is not installed: {LITERT}"),
        ("openvino", "openvino", "openvino is not installed: pip install 'onebyone[bench]'"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(subject, monkeypatch, name, missing, line):
    for module in modules(name):
        if find_spec(module) is None:
            monkeypatch.setitem(sys.modules, module, ModuleType(module))
    for module in list(sys.modules):
        if module.startswith(f"{missing}."):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    engine = engines._peer(name).engines(lambda model, example: b"")[0]
    with pytest.raises((ModuleNotFoundError, MissingPackageError)) as caught:
        engine.build(subject.network, subject.images(1), 1)
    assert why_absent(caught.value).startswith(line)


def test_a_network_that_ncnn_does_not_take_is_a_line(subject, monkeypatch, tmp_path):
    convert = ncnn.convert
    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH="/bin/false"))
    with pytest.raises(EngineError, match="^its converter, pnnx, gave up with status 1$"):
        convert(b"", subject.images(1), tmp_path)
    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH="/bin/true"))
    with pytest.raises(EngineError, match="^its converter, pnnx, gave up with status 0$"):
        convert(b"", subject.images(1), tmp_path)


def test_executorch_says_what_xnnpack_does_not_take():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    for function in (torch.relu, torch.cumsum, operator.getitem, torch.relu):
        graph.call_function(function, (x, 0))
    portable = executorch.find_portable(graph)
    assert portable == ("cumsum", "relu")
    assert executorch.remark(executorch.Loaded(None, None, ())) == ""
    loaded = executorch.Loaded(None, None, portable)
    assert executorch.remark(loaded) == "not in XNNPACK: cumsum, relu"


def test_silence_reaches_native_code_and_ends(capfd):
    with silent():
        print("a print")  # noqa: T201
        os.write(1, b"native\n")
        os.write(2, b"native\n")
    os.write(1, b"after")
    os.write(2, b"after")
    assert capfd.readouterr() == ("after", "after")


def test_ours_says_what_it_left_to_pytorch(subject):
    [engine] = find_engines([])
    images = subject.images(1)
    assert engine.remark(engine.build(subject.network, images, 1)) == ""

    class Partly(nn.Module):
        def forward(self, x):
            return torch.relu(x).cumsum(1)

    assert engine.remark(engine.build(Partly().eval(), images, 1)) == (
        "1 operator has no native code and runs in PyTorch: aten.cumsum.default"
    )


PLANTED = """
from onebyone.bench.engine import Engine

PACKAGE = "a-package"


def build(model, example, threads):
    raise ModuleNotFoundError(name="a_package.part")


def engines(export):
    return (Engine("planted", build),)
"""


def test_a_peer_is_one_file(tmp_path, monkeypatch, subject):
    """A planted one is found by its name, among versions, and where its package is missing."""
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.setattr(peers, "__path__", [*peers.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "onebyone.bench.peers.planted", raising=False)
    found = peers.find_names()
    assert "planted" in found
    monkeypatch.setattr(engines, "PEERS", found)
    assert "a-package" in engines.peer_packages()
    comparison = compare(subject, find_engines(["planted"]), batch=1, threads=1, rounds=1)
    missing = "a-package is not installed: pip install 'onebyone[planted]'"
    assert comparison.absent == {"planted": missing}
