"""A slice that takes one input of a concat is that input."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.drop_unused import drop_unused
from onebyone.compiler.rewrites.skip_concat import skip_concat
from onebyone.graph.graph import Slice
from tests.compiler.rewrites.building import GraphBuilder
from tests.helpers.rewrites import check_rewrite


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_only_slices_of_one_whole_input_go(widths, data):
    b = GraphBuilder()
    inputs = [b.input(1, width, 2, 3) for width in widths]
    bounds = [sum(widths[:i]) for i in range(len(widths) + 1)]
    start = data.draw(st.integers(0, bounds[-1] - 1))
    stop = data.draw(st.integers(start + 1, bounds[-1]))
    y = b.slice(b.concat(*inputs), 1, start, stop)
    after = check_rewrite(skip_concat, b.build(b.act(y)), b.values())
    is_one = (start, stop) in pairwise(bounds)
    assert any(isinstance(node, Slice) for node in after) != is_one
    if is_one:
        assert after["act1"].inputs == (inputs[bounds.index(start)],)


def test_a_concat_that_is_taken_apart_goes():
    b = GraphBuilder()
    x, y = b.input(1, 2, 3, 3), b.input(1, 5, 3, 3)
    both = b.concat(x, y)
    graph = b.build(b.slice(both, 1, 2, 7), b.slice(both, 1, 0, 2))
    after = check_rewrite(drop_unused, check_rewrite(skip_concat, graph, b.values()), b.values())
    assert list(after.nodes) == ["x1", "x2"]
    assert [ref.name for ref in after.outputs] == ["x2", "x1"]


def test_rows_and_every_second_channel_stay():
    b = GraphBuilder()
    both = b.concat(b.input(1, 2, 3, 3), b.input(1, 2, 3, 3))
    graph = b.build(b.slice(both, 2, 0, 2), b.slice(both, 1, 0, 2, 2), b.slice("x1", 1, 0, 1))
    assert check_rewrite(skip_concat, graph, b.values()) is graph
