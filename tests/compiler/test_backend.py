"""`torch.compile(model, backend="onebyone")`: PyTorch's own door."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from onebyone.compiler import BatchedModel, CompiledModel, CompileOptions
from onebyone.compiler import backend as door
from onebyone.compiler.options import NUMERICS
from onebyone.errors import FallbackWarning, OneByOneError
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


def test_other_numbers_of_images_are_code_for_any_number(graphs):
    model = small()
    fast = torch.compile(model, backend="onebyone")
    with torch.inference_mode():
        for batch in (3, 2, 5, 11, 4):
            x = torch.randn(batch, 3, 9, 9)
            torch.testing.assert_close(fast(x), model(x))
    # PyTorch's graph for the first number, and the one for all others.
    assert [[type(one) for one in graph.compiled] for graph in graphs] == [
        [CompiledModel],
        [BatchedModel],
    ]


def test_other_shapes_are_compiled_when_they_come(graphs):
    model = small()
    fast = torch.compile(model, backend="onebyone")
    with torch.inference_mode():
        for size in (9, 10, 11, 13, 10):
            x = torch.randn(2, 3, size, size)
            torch.testing.assert_close(fast(x), model(x))
    assert sum(len(graph.compiled) for graph in graphs) >= 3


@pytest.mark.filterwarnings("ignore:.*native code for 2 sets:onebyone.FallbackWarning")
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


@pytest.mark.parametrize("change", [lambda w: w.mul_(2), lambda w: w[0, 0, 0, :1].neg_()])
def test_changed_weights_of_inference_mode_are_seen(change, graphs):
    """PyTorch does not count changes of such tensors."""
    with torch.inference_mode():
        model = small()
        with torch.no_grad():
            model[0].weight[0, 0, 0, 0] = 0.0  # and -0.0 is another number
            model[1].running_mean[3] = torch.nan  # which is not equal to itself
        fast = torch.compile(model, backend="onebyone")
        x = torch.randn(1, 3, 9, 9)
        fast(x)
        (first,) = graphs[0].compiled
        fast(x)
        assert graphs[0].compiled == (first,), "nothing has changed"
        change(model[0].weight)
        torch.testing.assert_close(fast(x), model(x), equal_nan=True)
        assert first not in graphs[0].compiled


def test_another_weight_at_the_same_place_is_seen():
    weight = nn.Parameter(torch.randn(4))
    noted = door.Weight.of(weight)
    assert noted.is_same(weight)
    twin = nn.Parameter(weight.detach())
    assert (twin.data_ptr(), twin._version) == (weight.data_ptr(), weight._version)
    assert not noted.is_same(twin)


def test_gradients_are_pytorchs_business_and_it_says_so_once():
    model = small()
    fast = torch.compile(model, backend="onebyone")
    x = torch.randn(1, 3, 9, 9, requires_grad=True)
    with pytest.warns(FallbackWarning, match=r"gradients are wanted.*inference_mode") as said:
        (fast(x) + fast(x)).sum().backward()
    assert [warning.filename for warning in said] == [__file__]
    x.grad = None
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
    with torch.no_grad(), pytest.warns(FallbackWarning, match="runs in PyTorch, not compiled"):
        got = fast(x)
    torch.testing.assert_close(got, reference(x))
    torch.testing.assert_close(model[1].running_mean, reference[1].running_mean)


class Partly(nn.Module):
    def forward(self, x):
        return torch.relu(x).cumsum(1)


def test_operators_left_to_pytorch_are_one_warning_a_graph():
    fast = torch.compile(Partly(), backend="onebyone", dynamic=True)
    images = [torch.randn(2, 3, size, size) for size in (4, 5, 6)]
    with torch.inference_mode(), pytest.warns(FallbackWarning) as said:
        results = list(map(fast, images))
    torch.testing.assert_close(results, list(map(Partly(), images)))
    assert [str(warning.message) for warning in said] == [
        "1 operator has no native code and runs in PyTorch: aten.cumsum.default"
    ]


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layer(x)


def test_autocast_is_pytorchs_business():
    x = torch.randn(1, 3, 9, 9)
    fast = torch.compile(small(), backend="onebyone")
    inside = torch.compile(Halves().eval(), backend="onebyone")
    with torch.no_grad():
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            pytest.warns(FallbackWarning, match="autocast to torch.bfloat16 is on"),
        ):
            assert fast(x).dtype == torch.bfloat16
        with pytest.warns(FallbackWarning, match="switches autocast to torch.bfloat16 on"):
            assert inside(x).dtype == torch.bfloat16


STRICT = {
    "an operator": (Partly(), torch.inference_mode(), "no native code for aten.cumsum.default"),
    "gradients": (small(), torch.enable_grad(), "gradients are wanted"),
    "training": (small().train(), torch.no_grad(), "changes a parameter, a buffer"),
    "autocast": (Halves().eval(), torch.no_grad(), "switches autocast"),
}


@pytest.mark.parametrize(("model", "mode", "message"), STRICT.values(), ids=STRICT)
def test_strict_allows_no_fallback(model, mode, message):
    fast = torch.compile(model, backend="onebyone", options={"strict": True})
    with mode, pytest.raises(OneByOneError, match=message) as caught:
        fast(torch.randn(1, 3, 9, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::onebyone.FallbackWarning")
def test_numbers_are_told_apart(graphs):
    def scaled(x, scale):
        return x * scale

    fast = torch.compile(scaled, backend="onebyone")
    x = torch.tensor([[1.0, 2.0]])
    for number in (0.0, -0.0, torch.nan, torch.nan, 1.0):
        for dtype in (torch.float32, torch.float64):
            scale = torch.tensor(number, dtype=dtype)
            got = fast(x, scale)
            assert torch.equal(got.view(torch.int32), scaled(x, scale).view(torch.int32))
    assert sum(len(graph.compiled) for graph in graphs) == 8  # NaN is one number
    assert fast(x, torch.tensor(1)).dtype == torch.float32


@pytest.mark.parametrize("numerics", NUMERICS)
def test_options_are_honoured(numerics, graphs):
    model = nn.Conv2d(64, 64, 3, padding=1).eval()
    options = {"threads": 1, "numerics": numerics, "strict": True}
    fast = torch.compile(model, backend="onebyone", options=options)
    with torch.inference_mode():
        fast(torch.randn(1, 64, 56, 56))
    (compiled,) = graphs[0].compiled
    assert compiled.options == CompileOptions(**options)
    notes = [layer.note for step in compiled._steps for layer in step.account.layers]
    assert any("Winograd" in note for note in notes) == (numerics == "fp32")


REFUSED_OPTIONS = {
    "threads": ({"threads": -1}, r"`threads` \(=-1\) must be 1 to 1024"),
    "numerics": ({"numerics": "fp16"}, "`numerics` .*'fp16'.* must be 'fp32' or 'fp32-direct'"),
    "strict": ({"strict": 1}, r"`strict` \(=1\) must be True or False"),
    "a name": ({"thread": 1}, "no option 'thread'; did you mean 'threads'\\?"),
    "another's": (
        {"max_autotune": True},
        "'max_autotune'; there are threads, numerics, tune, strict",
    ),
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
