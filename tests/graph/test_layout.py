"""Layouts do to indices what PyTorch's views do to numbers."""

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from onebyone.graph.builder import GraphBuilder, Seen
from onebyone.graph.calls import Value
from onebyone.graph.graph import Ref
from onebyone.graph.interpret import interpret
from onebyone.graph.layout import expanded, permuted, plain, regrouped, shape_of

SHAPES = [(2, 6, 4, 3), (1, 4, 2, 2), (2, 1, 3, 1), (2, 6), (12,), (2, 2, 3, 2, 2), (4, 3, 6)]


def shown(layout, shape):
    """What a layout shows of the numbers 0, 1, 2, ... by the nodes that a builder adds."""
    builder = GraphBuilder()
    seen = builder.input(0, Value(shape, torch.float32))
    ref = builder.ref(Seen(seen.node, layout))
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    return interpret(builder.finish([ref]), [x])[0], x


@given(st.sampled_from(SHAPES), st.data())
def test_any_chain_of_views(shape, data):
    layout = plain(shape)
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    wanted = x
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["permute", "reshape", "expand"]))
        if kind == "permute":
            dims = data.draw(st.permutations(range(wanted.dim())))
            layout, wanted = permuted(layout, dims), wanted.permute(dims)
        elif kind == "reshape":
            new = data.draw(st.sampled_from(factorings(wanted.numel())))
            changed = regrouped(layout, new)
            if changed is not None:
                layout, wanted = changed, wanted.reshape(new)
        else:
            new = [3 if size == 1 else -1 for size in wanted.shape]
            layout, wanted = expanded(layout, wanted.expand(new).shape), wanted.expand(new)
        assume(wanted.numel() < 5000)
        assert shape_of(layout) == wanted.shape
    torch.testing.assert_close(shown(layout, shape)[0], wanted)


def factorings(count):
    """Some shapes of that many numbers."""
    found = [(count,), (1, count), (count, 1, 1)]
    for first in range(2, count):
        if count % first == 0:
            found.append((first, count // first))
            found.extend((first, second, count // first // second) for second in (2, 3)
                         if count // first % second == 0)  # fmt: skip
    return found


def test_views_that_need_no_nodes():
    builder = GraphBuilder()
    seen = builder.input(0, Value((2, 6, 4, 3), torch.float32))
    assert builder.ref(seen) == Ref("input")
    assert len(builder.finish([])) == 1
    assert regrouped(plain((2, 6)), (3, 4)) is None
    assert regrouped(plain((2, 0)), (0, 5)) is None
