"""`torch.compile(model, backend="onebyone")`: PyTorch's own door."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from onebyone.compiler import CompileOptions
from onebyone.compiler import backend as door
from onebyone.compiler.options import NUMERICS
from onebyone.errors import OneByOneError
from onebyone.models import create_model


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that PyTorch hands over, as what we made of them."""
    found = []
    begin = door.Specialized.__init__

    def note(self, *arguments):
        begin(self, *arguments)
        found.append(self)

    monkeypatch.setattr(door.Specialized, "__init__", note)
    return found


def small() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 7, 1)]
    return nn.Sequential(*layers).eval()


def test_it_is_found_without_an_import_of_ours():
    script = (
        "import sys, torch\n"
        "from torch import nn\n"
        "model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()).eval()\n"
        "assert 'onebyone' not in sys.modules\n"
        "fast = torch.compile(model, backend='onebyone')\n"
        "x = torch.randn(1, 3, 5, 5)\n"
        "with torch.inference_mode():\n"
        "    torch.testing.assert_close(fast(x), model(x))\n"
        "from onebyone.compiler.backend import Specialized\n"
        "import gc\n"
        "assert [s for s in gc.get_objects() if type(s) is Specialized and s.compiled]\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_network_is_one_native_graph(mode, graphs):
    network = create_model("resnet18")
    fast = torch.compile(network, backend="onebyone")
    x = torch.randn(1, 3, 64, 64)
    with mode():
        expected, got = network(x), fast(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    (graph,) = graphs
    (compiled,) = graph.compiled
    assert not compiled.fallbacks


def test_other_shapes_are_compiled_when_they_come(graphs):
    model = small()
    fast = torch.compile(model, backend="onebyone")
    with torch.inference_mode():
        for batch in (1, 2, 3, 5, 2):
            x = torch.randn(batch, 3, 9, 9)
            torch.testing.assert_close(fast(x), model(x))
    assert sum(len(graph.compiled) for graph in graphs) >= 3


def test_beyond_the_most_shapes_pytorch_runs(monkeypatch, graphs):
    monkeypatch.setattr(door, "MOST_SHAPES", 2)
    model = small()
    fast = torch.compile(model, backend="onebyone", dynamic=True)
    with torch.inference_mode():
        for size in (5, 6, 7, 8):
            x = torch.randn(2, 3, size, size)
            torch.testing.assert_close(fast(x), model(x))
    assert all(len(graph.compiled) <= 2 for graph in graphs)


def test_changed_weights_are_seen(graphs):
    model = small()
    fast = torch.compile(model, backend="onebyone")
    x = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        before = fast(x)
        model[0].weight.mul_(2)
        torch.testing.assert_close(fast(x), model(x))
        assert not torch.allclose(fast(x), before)


def test_gradients_are_pytorchs_business():
    model = small()
    fast = torch.compile(model, backend="onebyone")
    x = torch.randn(1, 3, 9, 9, requires_grad=True)
    fast(x).sum().backward()
    expected = x.grad.clone()
    x.grad = None
    model(x).sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_training_mode_runs_in_pytorch_and_says_so():
    model = small().train()
    reference = small().train()
    fast = torch.compile(model, backend="onebyone")
    x = torch.randn(4, 3, 9, 9)
    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        got = fast(x)
    torch.testing.assert_close(got, reference(x))
    torch.testing.assert_close(model[1].running_mean, reference[1].running_mean)
    assert any("runs in PyTorch, not compiled" in str(one.message) for one in said)


@pytest.mark.parametrize("numerics", NUMERICS)
def test_options_are_honoured(numerics, graphs):
    model = nn.Conv2d(64, 64, 3, padding=1).eval()
    options = {"threads": 1, "numerics": numerics, "strict": True}
    fast = torch.compile(model, backend="onebyone", options=options)
    with torch.inference_mode():
        fast(torch.randn(1, 64, 56, 56))
    (compiled,) = graphs[0].compiled
    assert compiled.options == CompileOptions(**options)
    kinds = {layer.kind for step in compiled._steps for layer in step.layers}
    assert ("transform" in kinds) == (numerics == "fp32")


REFUSED_OPTIONS = {
    "threads": ({"threads": -1}, r"`threads` \(=-1\) must be 1 to 1024"),
    "numerics": ({"numerics": "fp16"}, "`numerics` .*'fp16'.* must be 'fp32' or 'fp32-direct'"),
    "strict": ({"strict": 1}, r"`strict` \(=1\) must be True or False"),
    "a name": ({"thread": 1}, "no option 'thread'; did you mean 'threads'\\?"),
    "another's": ({"max_autotune": True}, "'max_autotune'; there are threads, numerics, strict"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED_OPTIONS.values(), ids=REFUSED_OPTIONS)
def test_other_options_are_refused(options, message):
    fast = torch.compile(small(), backend="onebyone", options=options)
    with torch.inference_mode(), pytest.raises(BackendCompilerFailed, match=message) as caught:
        fast(torch.randn(1, 3, 9, 9))
    assert isinstance(caught.value.inner_exception, OneByOneError)


def test_modes_are_refused():
    fast = torch.compile(small(), backend="onebyone", mode="max-autotune")
    with torch.inference_mode(), pytest.raises(BackendCompilerFailed, match="mode.*max-autotune"):
        fast(torch.randn(1, 3, 9, 9))
