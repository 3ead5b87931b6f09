"""Zeros around an image become padding of the convolutions that read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.fold_pad import fold_pad
from tests.compiler.rewrites.building import GraphBuilder
from tests.helpers.rewrites import check_rewrite

paddings = st.tuples(*[st.integers(0, 2)] * 4)


@given(paddings, paddings, st.sampled_from([(4, 1), (2, 2), (4, 4)]), st.integers(1, 2))
def test_paddings_add_up(outer, inner, width, stride):
    channels, groups = width
    b = GraphBuilder()
    x = b.pad(b.input(1, 4, 5, 4), outer)
    x = b.pad(x, (1, 0, 0, 0))
    facts = {"stride": (stride, stride), "padding": inner, "groups": groups}
    y = b.conv(x, channels, 3, **facts)
    z = b.conv(x, 2)
    after = check_rewrite(fold_pad, b.build(y, z), b.values())
    assert list(after.nodes) == ["x1", "conv1", "conv2"]
    top, *rest = (i + o for i, o in zip(inner, outer, strict=True))
    assert after["conv1"].padding == (top + 1, *rest)


NOT_FOLDED = {
    "not zero": lambda b, x: (b.conv(b.pad(x, (1, 1, 1, 1), 0.5), 2),),
    "output": lambda b, x: (y := b.pad(x, (1, 1, 1, 1)), b.conv(y, 2)),
    "another reader": lambda b, x: (b.conv(y := b.pad(x, (1, 1, 1, 1)), 2), b.act(y)),
    "also the residual": lambda b, x: (b.conv(y := b.pad(x, (1, 1, 1, 1)), 3, residual=y),),
}


@pytest.mark.parametrize("build", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_borders_that_stay(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.input(1, 3, 4, 4)))
    assert check_rewrite(fold_pad, graph, b.values()) is graph


def test_a_residual_stays_where_it_is():
    b = GraphBuilder()
    x, r = b.input(1, 3, 2, 2), b.input(1, 2, 4, 4)
    y = b.conv(b.pad(x, (1, 1, 1, 1)), 2, residual=r)
    after = check_rewrite(fold_pad, b.build(y), b.values())
    assert after["conv1"].inputs == ("x1", "x2")
