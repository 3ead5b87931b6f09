"""Compiled networks as their users see them: what goes in, what comes out, what is refused."""

import copy
import re

import pytest
import torch
from torch import nn

from onebyone.compiler import TARGETS, CompiledModel, Fallback, compile_model
from onebyone.compiler.target import can_run
from onebyone.errors import CompileError, ModelError, ShapeError


class Small(nn.Module):
    """Convolutions, a norm, a shortcut and a head: `(N, 3, 9, 7) -> (N, 5)`."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 20, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(20)
        self.features = nn.Sequential(self.stem, self.norm, nn.ReLU())
        self.body = nn.Conv2d(20, 20, 1)
        self.head = nn.Linear(20, 5)

    def forward(self, x):
        x = self.features(x)
        return self.head((x + self.body(x)).mean((2, 3)))


class CumulativeSum(nn.Module):
    """An operator that only PyTorch has, between layers that are native."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        y = self.first(x).relu()
        return self.last(torch.cumsum(y, 1) * 0.1), y


class Calls(nn.Module):
    """Apply functions, and layers, one after the other; the last one stands first."""

    def __init__(self, *functions):
        super().__init__()
        self.layers = nn.ModuleList(one for one in functions if isinstance(one, nn.Module))
        self.functions = functions

    def forward(self, x):
        for function in reversed(self.functions):
            x = function(x)
        return x


def through_backend(network, example):
    """The same network through PyTorch's own door; it is compiled when it is called."""
    torch.compiler.reset()
    return torch.compile(network, backend="onebyone")


@pytest.fixture(scope="module")
def network():
    return Small().eval()


@pytest.fixture(scope="module")
def compiled(network):
    return compile_model(network, torch.zeros(2, 3, 9, 7), threads=2)


def check_same(compiled, network, *args, **kwargs):
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(*args, **kwargs), network(*args, **kwargs), rtol=1e-4, atol=1e-5
        )


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "every second": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "expanded": lambda x: x[:1, :1, :, :1].expand(2, 3, 9, 7),
    "in the middle of another": lambda x: nn.functional.pad(x, (3, 1, 2, 1))[:, :, 2:-1, 3:-1],
    "a parameter": lambda x: nn.Parameter(x, requires_grad=False),
    "from inference mode": lambda x: torch.inference_mode()(x.clone)(),
}


@pytest.mark.parametrize("change", LAYOUTS.values(), ids=LAYOUTS)
def test_inputs_may_lie_in_memory_in_any_way(change, network, compiled):
    check_same(compiled, network, change(torch.randn(2, 3, 9, 7)))


def test_inputs_with_nan_and_infinity_spoil_their_own_image_only(network, compiled):
    x = torch.randn(2, 3, 9, 7)
    whole = compiled(x)
    for bad in (torch.nan, torch.inf):
        spoiled = x.clone()
        spoiled[0, 1, 4, 4] = bad
        y = compiled(spoiled)
        assert not y[0].isfinite().any()
        assert torch.equal(y[1], whole[1])


def test_results_are_new_tensors_without_gradient(compiled):
    x = torch.randn(2, 3, 9, 7)
    first = compiled(x)
    kept = first.clone()
    second = compiled(x + 1)
    assert torch.equal(first, kept)
    assert first.data_ptr() != second.data_ptr()
    assert not first.requires_grad


def test_an_input_with_gradient_is_refused_only_where_gradients_are_wanted(network, compiled):
    x = torch.randn(2, 3, 9, 7, requires_grad=True)
    with pytest.raises(ShapeError, match="inference_mode"):
        compiled(x)
    check_same(compiled, network, x)  # under no_grad
    with torch.inference_mode():
        assert compiled(x).shape == (2, 5)


REFUSED = {
    "another size": (torch.zeros(2, 3, 9, 8), r"\(2, 3, 9, 7\).*got .*\(2, 3, 9, 8\)"),
    "another batch": (torch.zeros(1, 3, 9, 7), r"\(1, 3, 9, 7\)"),
    "no image at all": (torch.zeros(0, 3, 9, 7), r"\(0, 3, 9, 7\)"),
    "another rank": (torch.zeros(3, 9, 7), r"\(3, 9, 7\)"),
    "double": (torch.zeros(2, 3, 9, 7).double(), "float64"),
    "half": (torch.zeros(2, 3, 9, 7).half(), "float16"),
    "whole numbers": (torch.zeros(2, 3, 9, 7).int(), "int32"),
    "no tensor": ([1.0], "nested"),
    "an array": (torch.zeros(2, 3, 9, 7).numpy(), "must be a tensor"),
    "another device": (torch.zeros(2, 3, 9, 7, device="meta"), "on the CPU; got .* on meta"),
    "sparse": (torch.zeros(2, 3, 9, 7).to_sparse(), "sparse_coo"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_other_arguments_are_refused_in_one_line(value, message, compiled):
    with pytest.raises(ShapeError, match=message) as caught:
        compiled(value)
    assert "\n" not in str(caught.value)


def test_another_number_of_arguments_is_refused(compiled):
    x = torch.zeros(2, 3, 9, 7)
    for args, kwargs in [((), {}), ((x, x), {}), ((), {"x": x})]:
        with pytest.raises(ShapeError, match="nested"):
            compiled(*args, **kwargs)


class Nested(nn.Module):
    def forward(self, pair, options):
        a, b = pair
        return {"sum": a + b["x"], "both": (a, [b["x"] * options["factor"]]), "nothing": None}


def test_arguments_and_results_may_be_nested():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    example = ((a, {"x": b}), {"factor": 2.0})
    compiled = compile_model(Nested().eval(), example, threads=1)
    got = compiled(*example)
    assert got["nothing"] is None
    torch.testing.assert_close(got, Nested()(*example))
    with pytest.raises(ShapeError, match="3.0"):
        compiled((a, {"x": b}), {"factor": 3.0})


def test_the_network_and_what_was_compiled_are_apart():
    network = Small().eval()
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(1, 3, 9, 7)
    compiled = compile_model(network, x, threads=1)
    y = compiled(x)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not network.training
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(compiled(x), y), "the weights are those at the time of compilation"


def test_training_mode_is_refused():
    with pytest.raises(ModelError, match=r"eval\(\)"):
        compile_model(Small(), torch.zeros(1, 3, 9, 7))


def test_weights_without_numbers_are_refused():
    layer = nn.Sequential(nn.Conv2d(3, 4, 1, device="meta")).eval()
    with pytest.raises(ModelError) as caught:
        compile_model(layer, torch.randn(1, 3, 5, 5))
    assert str(caught.value) == (
        "0: a tensor on the meta device has no numbers; load the model's weights"
    )


def test_a_target_for_another_processor_is_refused(network):
    target = next(target for target in TARGETS.values() if not can_run(target))
    with pytest.raises(CompileError, match=f"cannot run code for the target '{target.name}'"):
        compile_model(network, torch.zeros(1, 3, 9, 7), target=target)


def test_defaults_of_pytorch_do_not_matter(network, compiled):
    x = torch.randn(2, 3, 9, 7)
    torch.set_default_dtype(torch.float64)
    try:
        y = compiled(x)
        again = compile_model(network.features, torch.zeros_like(x), threads=2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert y.dtype == torch.float32
    check_same(compiled, network, x)
    check_same(again, network.features, x)


# Operators that stay in PyTorch


def test_unknown_operators_run_in_pytorch():
    network = CumulativeSum().eval()
    x = torch.randn(2, 3, 6, 5)
    compiled = compile_model(network, x, threads=2)
    assert compiled.fallbacks == (Fallback("aten.cumsum.default", ""),)
    assert str(compiled.fallbacks[0]) == "aten.cumsum.default"
    assert repr(compiled).endswith("1 operator in PyTorch)")
    check_same(compiled, network, x)
    check_same(compiled, network, x.to(memory_format=torch.channels_last))
    assert compiled.profile(x, rounds=2).layers


class InTheModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = CumulativeSum()

    def forward(self, x):
        y, _ = self.deep(x)
        flipped = torch.flip(y, [3])
        return torch.cumsum(flipped + y, 2).softmax(1), flipped, x


def test_fallbacks_name_their_module():
    network = InTheModule().eval()
    x = torch.randn(2, 3, 6, 5)
    compiled = compile_model(network, x, threads=2)
    shown = [str(fallback) for fallback in compiled.fallbacks]
    assert "aten.cumsum.default in deep" in shown
    assert "aten.cumsum.default" in shown
    check_same(compiled, network, x)


def test_the_second_time_all_parts_come_from_the_cache(monkeypatch):
    """They are neither rewritten nor compiled."""
    network = CumulativeSum().eval()
    x = torch.randn(2, 3, 6, 5)
    compile_model(network, x, threads=1)
    monkeypatch.setattr("onebyone.compiler.build.compile_module", None)
    monkeypatch.setattr("onebyone.compiler.sharing.rewrite_graph", None)
    check_same(compile_model(network, x, threads=1), network, x)


def test_constants_are_where_they_are_read():
    """A part has its own copy of a constant; one that PyTorch reads, or an output, is given."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.offset = nn.Parameter(torch.randn(1, 3, 1, 1))

        def forward(self, x):
            y = torch.cumsum(x.relu() + self.offset, 1)
            return y * self.offset, torch.cumsum(self.offset.expand(1, 3, 2, 2), 2), self.offset * 1

    x = torch.randn(2, 3, 4, 5)
    network = Shared().eval()
    compiled = compile_model(network, x, threads=1)
    check_same(compiled, network, x)
    assert compiled.fates().count("constant") >= 1


def test_only_pytorch():
    class Only(nn.Module):
        def forward(self, x):
            return torch.cumsum(x, 1)

    x = torch.randn(2, 3, 4, 4)
    compiled = compile_model(Only().eval(), x, threads=1)
    check_same(compiled, Only(), x)


@pytest.mark.parametrize(
    "network", [nn.Identity(), nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Identity())], ids=str
)
def test_hardly_a_network(network):
    x = torch.randn(2, 3, 4, 4)
    check_same(compile_model(network.eval(), x, threads=2), network, x)


def test_repr(compiled):
    assert isinstance(compiled, CompiledModel)
    assert re.fullmatch(r"CompiledModel\(\w+, 2 threads, fp32, fully native\)", repr(compiled))


# What a call leaves behind


class State(nn.Module):
    """A network that keeps a running sum in its second argument."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x, state):
        state.copy_(state * 0.9 + x)
        return self.conv(state)


INPUT_WRITERS = {
    "a state": (State(), 2),
    "an activation in place": (nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 1)), 1),
    "some channels": (Calls(lambda x: x[:, :1].mul_(2) + x), 1),
    "beside a fallback": (Calls(lambda x: torch.cumsum(x.add_(1), 1)), 1),
}


@pytest.mark.filterwarnings("ignore::onebyone.FallbackWarning")
@pytest.mark.parametrize("door", [compile_model, through_backend])
@pytest.mark.parametrize(("network", "count"), INPUT_WRITERS.values(), ids=INPUT_WRITERS)
def test_inputs_are_left_as_by_the_network(network, count, door):
    network.eval()
    given = [torch.randn(2, 3, 6, 5) for _ in range(count)]
    kept = [tensor.clone() for tensor in given]
    compiled = door(network, tuple(torch.zeros_like(tensor) for tensor in given))
    for _ in range(3):
        with torch.no_grad():
            torch.testing.assert_close(compiled(*given), network(*kept), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(given, kept, rtol=1e-4, atol=1e-5)


class WritesInOrder(nn.Module):
    """Writes into its input, or into a copy of it, as PyTorch's orders of memory have it."""

    def __init__(self, ask):
        super().__init__()
        self.ask = ask

    def forward(self, x):
        return self.ask(x)[:, 1:].mul_(0.5) + 1


@pytest.mark.filterwarnings("ignore::onebyone.FallbackWarning")
@pytest.mark.parametrize("door", [compile_model, through_backend])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.contiguous(),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.clone(memory_format=torch.channels_last),
    ],
)
def test_an_input_in_the_order_that_is_asked_for_is_no_copy(ask, order, door):
    network = WritesInOrder(ask).eval()
    given = torch.randn(2, 3, 6, 5).contiguous(memory_format=order)
    kept = given.clone()
    compiled = door(network, (torch.zeros_like(given),))
    with torch.no_grad():
        torch.testing.assert_close(compiled(given), network(kept))
    torch.testing.assert_close(given, kept)


def test_a_profile_leaves_inputs_as_they_are():
    compiled = compile_model(nn.ReLU(inplace=True).eval(), torch.zeros(1, 3, 4, 4), threads=1)
    x = torch.randn(1, 3, 4, 4)
    kept = x.clone()
    compiled.profile(x, rounds=2)
    assert torch.equal(x, kept)


def test_written_inputs_may_not_share_memory():
    x = torch.zeros(2, 3, 6, 5)
    compiled = compile_model(State().eval(), (x, x.clone()), threads=1)
    message = r"^arguments 0 and 1 share memory, and the network writes into argument 1; give it a "
    both = torch.randn(2, 6, 6, 5)
    for pair in ((x, x), (both[:, :3], both[:, 2:5])):
        before = pair[1].clone()
        with pytest.raises(ShapeError, match=message):
            compiled(*pair)
        assert torch.equal(pair[1], before)
    state = both[:, 3:].clone()
    torch.testing.assert_close(compiled(both[:, :3], both[:, 3:]), compiled(both[:, :3], state))
    torch.testing.assert_close(both[:, 3:], state)


class Shows(nn.Module):
    """Results that lie in the memory of others: inputs, weights, constants, each other."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3))
        self.register_buffer("table", torch.arange(6.0))

    def forward(self, x):
        y = torch.cumsum(x, 1)
        parts = x[0], x.flatten(1), x.view(2, 3, -1), y, y[1:], y
        return x, *parts, self.scale, self.table.view(2, 3), torch.arange(4), torch.ones(5)


@pytest.mark.parametrize("network", [Shows(), Calls(lambda x: (x, x, x.relu())), nn.Identity()])
def test_results_belong_to_the_caller(network):
    x = torch.randn(2, 3, 6, 5)
    check_own_results(compile_model(network.eval(), x), network, x)


@pytest.mark.filterwarnings("ignore::onebyone.FallbackWarning")
def test_results_of_pytorchs_door_belong_to_the_caller():
    network = Calls(lambda x: (x * 2, torch.arange(4.0), torch.cumsum(x, 1)[1:]))
    x = torch.randn(2, 3, 6, 5)
    check_own_results(through_backend(network.eval(), (x,)), network, x)


def check_own_results(compiled, network, x):
    """What is done to results changes neither later ones nor the input."""
    kept = x.clone()
    for _ in range(3):
        with torch.no_grad():
            got, expected = compiled(x), network(x)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
            for result in [got] if isinstance(got, torch.Tensor) else got:
                result.mul_(100)
        assert torch.equal(x, kept)


# Operators that stay in PyTorch get what they need


def as_complex(x):
    pairs = x.permute(0, 2, 3, 1).reshape(2, 6, 15, 1).expand(2, 6, 15, 2)
    return torch.view_as_complex(pairs.contiguous()).abs()


def channel_product(x):
    one = x[:, :1].flatten(2)
    return one.transpose(1, 2) @ one


def pixel_product(x):
    one = x[..., :1, :1].flatten(2)
    return one @ one.transpose(1, 2)


MEMORY_ORDERS = {
    "a group norm of turned pixels": Calls(nn.GroupNorm(3, 3), lambda x: x.transpose(2, 3)),
    "turned and made contiguous": Calls(
        lambda x: torch.cumsum(x, 3), lambda x: x.permute(0, 2, 3, 1).contiguous()
    ),
    "pairs as complex numbers": Calls(as_complex),
    "a product of one channel": Calls(channel_product),
    "a product of one pixel": Calls(pixel_product),
}


@pytest.mark.parametrize("network", MEMORY_ORDERS.values(), ids=MEMORY_ORDERS)
def test_operators_in_pytorch_get_their_memory_order(network):
    x = torch.randn(2, 3, 6, 5)
    compiled = compile_model(network.eval(), x, threads=1)
    for given in (x, x.to(memory_format=torch.channels_last), x.mT.clone().mT):
        check_same(compiled, network, given)


def test_results_are_contiguous_where_they_were():
    network = Calls(lambda x: (x.relu().permute(0, 2, 3, 1).contiguous(), torch.cumsum(x, 1).mT))
    x = torch.randn(2, 3, 6, 5)
    for one in (network, Calls(lambda x: x.relu().permute(0, 2, 3, 1).contiguous())):
        compiled = compile_model(one.eval(), x, threads=1)
        check_same(compiled, one, x)
        got = compiled(x)
        assert (got[0] if isinstance(got, tuple) else got).is_contiguous()


def test_weights_of_operators_in_pytorch_are_copies():
    shared = nn.ConvTranspose2d(3, 3, 2, 2)
    network = nn.Sequential(shared, shared, nn.PReLU(3)).eval()
    x = torch.randn(1, 3, 4, 4)
    compiled = compile_model(network, x, threads=1)
    before = compiled(x)
    tensors = [tensor for step in compiled._steps for tensor in step.tensors()]
    weights = [tensor for tensor in tensors if tensor.shape == shared.weight.shape]
    assert len({weight.data_ptr() for weight in weights}) == 1 < len(weights)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(compiled(x), before)


def test_autocast_does_not_change_operators_in_pytorch():
    network = Calls(lambda x: (x.flatten(2) @ x.flatten(2).mT).unsqueeze(1).relu())
    x = torch.randn(2, 3, 6, 5)
    compiled = compile_model(network.eval(), x, threads=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        [got] = compiled.run([x])  # as a traced program calls it
    assert torch.equal(got, compiled(x))


# Lazy signs


def test_lazily_negated_tensors_are_read_with_their_sign(network, compiled):
    x = torch.randn(2, 3, 9, 7)
    negated = torch.complex(torch.zeros_like(x), x).conj().imag
    assert negated.is_neg()
    check_same(compiled, network, negated)
    between = Calls(lambda x: torch.complex(x.relu(), x).conj().imag.relu() + x)
    check_same(compile_model(between.eval(), x, threads=1), between, x)
