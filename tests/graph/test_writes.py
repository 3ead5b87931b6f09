"""Work in place, of any kind: on views, on inputs, on tensors made on the way."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from onebyone.errors import ModelError
from onebyone.graph import capture
from onebyone.graph.memory import Geometry, share_numbers
from tests.helpers.graphs import check_capture, check_meaning, opaque_operators

SHAPE = (2, 4, 6, 5)


def image(*shape):
    return torch.randn(shape or SHAPE)


def check_followed(model, *args):
    """A network means what it meant, whatever is left to PyTorch."""
    captured = capture(model, args)
    for dtype in (torch.float32, torch.float64):
        given = tuple(x.to(dtype) if x.is_floating_point() else x for x in args)
        check_meaning(captured, model, given, {}, dtype)
    return captured


# Views of a tensor: each a function of a tensor and of a number that says which.


def narrowed(x, k):
    dim = k % x.dim()
    size = x.shape[dim]
    return x.narrow(dim, k % size, 1 + (k // 7) % (size - k % size))


def stepped(x, k):
    return x.movedim(k % x.dim(), 0)[k % 2 :: 1 + k % 3].movedim(0, k % x.dim())


def selected(x, k):
    return x.select(k % x.dim(), k % x.shape[k % x.dim()]) if x.dim() > 1 else x


def turned(x, k):
    return x.transpose(k % x.dim(), (k // 3) % x.dim())


def split_dim(x, k):
    dim = k % x.dim()
    return x.unflatten(dim, (2, x.shape[dim] // 2)) if x.shape[dim] % 2 == 0 else x.unsqueeze(dim)


def halved(x, k):
    return x.chunk(2, k % x.dim())[-1]


def diagonal(x, k):
    return x.diagonal(0, 0, 1 + k % (x.dim() - 1)) if x.dim() > 1 else x


def untracked(x, _):
    return x.data


def one_of_all(x, k):
    return x.unbind(k % x.dim())[0] if x.dim() > 1 else x


VIEWS = [narrowed, stepped, selected, turned, split_dim, halved, diagonal, untracked, one_of_all]


# Writes: each a function of the tensor, of another one, and of a number.


def masked(x, _, k):
    x.masked_fill_(torch.arange(x.shape[-1]) % 2 == k % 2, 0.5)


def indexed(x, _, k):
    x[torch.arange(0, x.shape[0], 1 + k % 2)] = 0.25


def copied(x, other, _):
    x.copy_(other.mean())


def moved(x, _, k):
    """Between parts of one tensor, as circular padding does."""
    if x.shape[0] > 1:
        x[k % (x.shape[0] - 1)] = x[-1]


WRITES = [
    lambda x, other, k: x.mul_(2),
    lambda x, other, k: x.relu_(),
    lambda x, other, k: x.add_(other.sum() * 0.01),
    lambda x, other, k: x.fill_(k % 3),
    lambda x, other, k: x.zero_(),
    lambda x, other, k: x.add_(torch.ones(x.shape[-1:])),
    masked,
    indexed,
    copied,
    moved,
]

STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 200),
        st.sampled_from(VIEWS),
        st.sampled_from(WRITES),
    ),
    min_size=1,
    max_size=9,
)


class Program(nn.Module):
    """Take views and write through them, as the steps say, beginning with `start(x)`."""

    def __init__(self, start, steps):
        super().__init__()
        self.start = start
        self.steps = steps

    def forward(self, x):
        tensors = [self.start(x)]
        for is_write, one, other, number, view, write in self.steps:
            chosen = tensors[one % len(tensors)]
            if is_write:
                write(chosen, tensors[other % len(tensors)], number)
            else:
                seen = view(chosen, number)
                tensors += [seen] if seen.numel() else []
        return [tensor * 1 for tensor in tensors], tensors


STARTS = {
    "the input": lambda x: x,
    "a copy": lambda x: x.clone(),
    "a part": lambda x: x[1:, ::2],
    "turned": lambda x: (x + 1).permute(0, 2, 3, 1),
    "zeros": lambda x: torch.zeros(x.shape, dtype=x.dtype),
    "memory": lambda x: x.new_empty(x.shape).fill_(1),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@given(STEPS)
def test_any_chain_of_writes_through_views(start, steps):
    check_followed(Program(start, steps).eval(), image())


@given(
    st.lists(st.tuples(st.sampled_from(VIEWS), st.integers(0, 200)), max_size=4),
    st.lists(st.tuples(st.sampled_from(VIEWS), st.integers(0, 200)), max_size=4),
)
def test_tensors_share_numbers_where_a_write_is_seen(first, second):
    base = torch.zeros(SHAPE)
    one = other = base
    for view, number in first:
        one = view(one, number)
    for view, number in second:
        other = view(other, number)
    one.fill_(1)
    assert share_numbers(Geometry.of(one), Geometry.of(other)) == bool(other.any())


def test_types_are_those_of_the_written_tensor():
    def function(x):
        y = x.clone()
        y.gt_(0)
        y += torch.ones(SHAPE, dtype=torch.float64)
        count = (x * 0).int()
        count += 2
        return y, count

    captured = capture(function, (image(),))
    check_meaning(captured, function, (image(),), {}, torch.float32)


# What is native stays native


def test_a_part_that_no_write_touches_is_as_it_was():
    def function(x):
        first, second = (x * 2).chunk(2, 1)
        return torch.cat([second, first.relu_()], 1)

    check_capture(function, image())


def test_padding_modes_run():
    for mode, opaque in (
        ("circular", {"as_strided_scatter", "slice_scatter", "slice"}),
        ("reflect", {"reflection_pad2d"}),
        ("replicate", {"replication_pad2d"}),
    ):
        network = nn.Conv2d(4, 3, 3, padding=(2, 1), padding_mode=mode)
        assert not capture(network.eval(), (image(),)).written
        check_capture(network, image(), opaque=opaque)


# Inputs


def test_what_is_left_in_inputs_comes_out_last():
    def function(x, state):
        state.mul_(0.9).add_(x)
        return state * 2

    captured = check_followed(function, image(), image())
    assert captured.written == (1,)
    assert len(captured.graph.outputs) == 2
    assert not opaque_operators(captured.graph)


INPUT_WRITES = {
    "an activation": lambda x: F.relu(x, inplace=True) + 1,
    "some channels": lambda x: x[:, :1].mul_(2) + x.mean(),
    "a sum": lambda x: x.add_(x.mean()),
    "all": lambda x: x.copy_(torch.ones(SHAPE)),
    "after all": lambda x: (x * 2, x.zero_())[0],
    "through another shape": lambda x: x.view(2, -1).relu_(),
    "an element": lambda x: x[0, 1, 2, 3].fill_(7),
}


@pytest.mark.parametrize("function", INPUT_WRITES.values(), ids=INPUT_WRITES)
def test_inputs_are_written(function):
    assert check_followed(function, image()).written == (0,)


def test_inputs_that_are_only_read_are_not_written():
    def function(x, y):
        x[:].detach()
        y.data.view(-1)[:0].zero_()
        return x.clone().zero_(), y.contiguous()

    assert check_followed(function, image(), image()).written == ()


def test_an_input_of_another_shape_afterwards_is_refused():
    with pytest.raises(ModelError, match=r"changes the shape of its input \(2, 4, 6, 5\) in place"):
        capture(lambda x: x.unsqueeze_(0), (image(),))


# Tensors made on the way


def test_tensors_made_on_the_way_are_filled():
    def assemble(x):
        y = torch.zeros(SHAPE, device=x.device)
        whole = y
        y[:, :2] = x[:, :2]
        y[:, 3] = torch.arange(5.0)
        y.unsqueeze_(0)
        y += 1
        return y, whole.mean(), torch.zeros_like(y), y.new_ones(3)

    check_followed(assemble, image())


def test_constants_that_change_after_their_use():
    def function(x):
        scale = torch.ones(4, 1, 1)
        y = x * scale
        scale.add_(1)
        return y * scale

    check_followed(function, image())


def test_memory_that_nobody_set_is_always_the_same():
    def function(x):
        y = torch.empty(SHAPE)
        y[:, 1:] = x[:, 1:]
        return y[:, 1:]

    shown = [capture(function, (image(),)).graph for _ in range(2)]
    tensors = [
        [leaf for node in graph for leaf in getattr(node, "arguments", ()) if torch.is_tensor(leaf)]
        for graph in shown
    ]
    assert tensors[0]
    for one, other in zip(*tensors, strict=True):
        assert not one.any()
        assert torch.equal(one, other)


@pytest.mark.parametrize("look", [torch.Tensor.tolist, torch.Tensor.numpy, float])
def test_numbers_of_a_filled_tensor_cannot_be_looked_at(look):
    def function(x):
        y = torch.zeros(())
        y.copy_(x.sum())
        return look(y)

    with pytest.raises(ModelError, match="depends on numbers that depend on its input"):
        capture(function, (image(),))
