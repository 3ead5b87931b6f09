"""`onebyone.compile`: what may be handed over, what is said of all else, and of fallbacks."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import onebyone
from onebyone.compiler import CompileOptions, Fallback
from onebyone.compiler.fallback import MOST_NAMES, describe_fallbacks
from onebyone.errors import CompileError, FallbackWarning, ModelError, ShapeError

X = torch.randn(1, 3, 8, 8)


class Partly(nn.Module):
    """Operators that only PyTorch has, in a module, beside a native one."""

    def __init__(self):
        super().__init__()
        self.sums = Sums()
        self.last = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.last(self.sums(x).flip(2))


class Sums(nn.Module):
    def forward(self, x):
        return x.cumsum(1).cumsum(2)


@pytest.fixture(scope="module")
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()


MODELS = {
    "a string": ("resnet50", r"got the string 'resnet50'.*onebyone\.load_model\('resnet50'\)"),
    "nothing": (None, "got None"),
    "a class": (nn.Flatten, r"got the class Flatten; make one of it: Flatten\(\.\.\.\)"),
    "a number": (3, "got 3$"),
    "weights": (nn.Flatten().state_dict(), "got an OrderedDict"),
    "layers": ([nn.Flatten()], "got a list"),
}


@pytest.mark.parametrize(("model", "message"), MODELS.values(), ids=MODELS)
def test_what_is_no_network_is_refused(model, message):
    with pytest.raises(ModelError, match="^`model` must be a network .*" + message) as caught:
        onebyone.compile(model, X)
    assert "\n" not in str(caught.value)


def test_what_is_compiled_is_not_compiled_again(network):
    compiled = onebyone.compile(network, X, threads=1)
    with pytest.raises(ModelError, match=r"compiled already, CompiledModel\("):
        onebyone.compile(compiled, X)


def test_functions_are_compiled_too(network):
    def doubled(x, *, by=2.0):
        return network(x) * by

    compiled = onebyone.compile(doubled, X, threads=1)
    torch.testing.assert_close(compiled(X), doubled(X))


def test_within_torch_compile_it_is_the_network_that_counts(network):
    compiled = onebyone.compile(torch.compile(network, backend="eager"), X, threads=1)
    torch.testing.assert_close(compiled(X), network(X))


EXAMPLES = {
    "nothing": (None, "tuple of the arguments .*; got None"),
    "a string": ("cat.jpg", "got a str, without a tensor in it"),
    "an array": (X.numpy(), r"got a ndarray \(1, 3, 8, 8\); make a tensor"),
    "an array beside": ((X, np.zeros(3)), r"got a ndarray \(3,\)"),
    "no arguments": ((), "got a tuple, without a tensor"),
    "numbers": ([1.0, 2.0], "got a list, without a tensor"),
    "another device": (X.to("meta"), r"on the CPU, .*; got one on meta; example\.cpu\(\)"),
    "no images": (X[:0], r"\(0, 3, 8, 8\)\) has no numbers in it; every size must be at least 1"),
}


@pytest.mark.parametrize(("example", "message"), EXAMPLES.values(), ids=EXAMPLES)
def test_what_is_no_example_is_refused(example, message, network):
    with pytest.raises(ShapeError, match=message) as caught:
        onebyone.compile(network, example)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kwargs", [X, [X], {1: X}], ids=["tensor", "list", "numbered"])
def test_what_are_no_arguments_by_name_is_refused(kwargs, network):
    with pytest.raises(ShapeError, match=r"^`kwargs` must be a dict .* \(a, b\)"):
        onebyone.compile(network, X, kwargs)


def test_tensors_without_numbers_are_refused(network):
    with FakeTensorMode(), pytest.raises(CompileError, match="a FakeTensorMode is on"):
        onebyone.compile(network, torch.zeros(1, 3, 8, 8))


class Named(nn.Module):
    def forward(self, x, *, scale, shift=0.0):
        return torch.relu(x) * scale + shift


def test_arguments_by_name_are_part_of_the_example():
    scale = torch.rand(1, 3, 1, 1)
    compiled = onebyone.compile(Named().eval(), (X,), {"scale": scale, "shift": 2.0}, threads=1)
    got = compiled(X, scale=scale, shift=2.0)
    torch.testing.assert_close(got, Named()(X, scale=scale, shift=2.0))
    with pytest.raises(ShapeError, match="nested"):
        compiled(X, scale=scale)
    by_name_only = onebyone.compile(nn.ReLU().eval(), (), {"input": X}, threads=1)
    assert torch.equal(by_name_only(input=X), X.relu())


def test_options_are_seen(network):
    compiled = onebyone.compile(network, X, threads=1, numerics="fp32-direct", strict=True)
    assert compiled.options == CompileOptions(threads=1, numerics="fp32-direct", strict=True)
    assert repr(compiled).endswith(", 1 thread, fp32-direct, strict, fully native)")


def test_what_is_not_native_is_one_warning_where_the_user_stands():
    with pytest.warns(FallbackWarning) as said:
        compiled = onebyone.compile(Partly().eval(), X, threads=1)
    [warning] = said
    assert str(warning.message) == (
        "3 operators have no native code and run in PyTorch: "
        "aten.cumsum.default (2), aten.flip.default; `.fallbacks` has their modules"
    )
    assert warning.filename == __file__
    assert len(compiled.fallbacks) == 3


def test_a_native_network_is_no_warning(network):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onebyone.compile(network, X, threads=1)


def test_strict_names_operators_and_modules():
    with pytest.raises(CompileError) as caught:
        onebyone.compile(Partly().eval(), X, strict=True)
    assert str(caught.value) == (
        "`strict` is on, and there is no native code for aten.cumsum.default in sums, "
        "aten.flip.default"
    )


def test_many_operators_are_counted():
    many = [Fallback(f"aten.op{number}.default", "") for number in range(MOST_NAMES + 3)]
    assert describe_fallbacks(many).endswith(f"aten.op{MOST_NAMES - 1}.default and 3 more")
    assert describe_fallbacks(many[:1]) == (
        "1 operator has no native code and runs in PyTorch: aten.op0.default"
    )
