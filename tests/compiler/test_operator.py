"""Compiled networks called with tensors that are not plain memory: right, or one clear line."""

# pyright: reportPrivateImportUsage=false
import gc

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from onebyone.compiler import compile_model
from onebyone.errors import CompileError, ShapeError

X = torch.randn(2, 3, 6, 5)


class Partly(nn.Module):
    """Native and other operators, results in several types and nested."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        y = self.first(x).relu()
        return y, {"sums": y.cumsum(1), "largest": y.argmax(1)}


class Around(nn.Module):
    """Calls a compiled network between operators of its own."""

    def __init__(self, compiled):
        super().__init__()
        self.compiled = compiled

    def forward(self, x):
        return self.compiled(x + 1) * 2


@pytest.fixture(scope="module")
def network():
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()).eval()


@pytest.fixture(scope="module")
def compiled(network):
    return compile_model(network, X, threads=1)


@pytest.fixture
def fresh_dynamo():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def facts(tensor):
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def test_fake_tensors_give_fake_results():
    compiled = compile_model(Partly().eval(), X, threads=1)
    with FakeTensorMode() as mode:
        inside = compiled(mode.from_tensor(X))
    outside = compiled(mode.from_tensor(X))
    real = compiled(X)
    for y, tree in (inside, outside):
        found = [y, tree["sums"], tree["largest"]]
        wanted = [real[0], real[1]["sums"], real[1]["largest"]]
        assert list(map(facts, found)) == list(map(facts, wanted))
        assert "Fake" in type(y).__name__


ODD = {
    "lazily negated": lambda x: torch.complex(torch.zeros_like(x), x).conj().imag,
    "zeros without memory": lambda x: torch._efficientzerotensor(x.shape),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_odd_tensors_are_read_as_pytorch_reads_them(change, network, compiled):
    x = change(X)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), network(x + 0))


def test_functional_tensors_are_read_through_their_wrapper(compiled):
    wrapped = torch._to_functional_tensor(X)
    assert torch.equal(torch._from_functional_tensor(compiled(wrapped)), compiled(X))


def test_an_emptied_tensor_is_refused(compiled):
    x = X.clone()
    x.untyped_storage().resize_(0)
    with pytest.raises(ShapeError, match="has no memory"):
        compiled(x)


TRANSFORMS = {
    "vmap": lambda f: torch.vmap(f)(X[None]),
    "jvp": lambda f: torch.func.jvp(f, (X,), (X,)),
    "grad": lambda f: torch.func.grad(lambda x: f(x.detach()).sum())(X),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.func.jvp's own
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms_are_refused_in_one_line(transform, compiled):
    with pytest.raises(ShapeError, match=r"no rules for torch\.func's transforms") as caught:
        transform(compiled)
    assert "\n" not in str(caught.value)


def test_modes_that_watch_see_one_operator(compiled):
    with FlopCounterMode(display=False):
        got = compiled(X)
    assert torch.equal(got, compiled(X))


def check_traced(program, compiled):
    """A program traced around a compiled network calls it, with whatever numbers come."""
    x = torch.randn_like(X)
    with torch.no_grad():
        assert torch.equal(program(x), Around(compiled)(x))


def test_traced_programs_call_the_network(compiled):
    check_traced(make_fx(Around(compiled))(X), compiled)
    check_traced(torch.export.export(Around(compiled).eval(), (X,)).module(), compiled)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_calls_the_network(compiled):
    check_traced(torch.jit.trace(Around(compiled), X), compiled)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_takes_it_into_one_graph(backend, compiled, fresh_dynamo):
    check_traced(torch.compile(Around(compiled), backend=backend, fullgraph=True), compiled)


def test_a_program_without_its_network_says_so(network):
    compiled = compile_model(network, X, threads=1)
    program = make_fx(Around(compiled))(X)
    del compiled
    gc.collect()
    with pytest.raises(CompileError, match="the compiled network .* is gone"):
        program(X)


def test_autocast_is_refused_in_one_line(compiled):
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ShapeError, match=r"^autocast to torch\.bfloat16 is on") as caught,
    ):
        compiled(X)
    assert "\n" not in str(caught.value)
    with torch.autocast("cpu", enabled=False):
        assert compiled(X).dtype == torch.float32


def test_only_plain_tensors_are_timed(compiled):
    with FakeTensorMode() as mode, pytest.raises(ShapeError, match="only plain tensors"):
        compiled.profile(mode.from_tensor(X))
