"""What reaches no output goes; the user's arguments stay."""

from onebyone.compiler.rewrites.drop_unused import drop_unused
from tests.compiler.rewrites.building import GraphBuilder
from tests.helpers.rewrites import check_rewrite


def test_whole_branches_go_and_inputs_stay():
    b = GraphBuilder()
    x, _ = b.input(1, 3, 4, 4), b.input(1, 3, 4, 4)
    y = b.conv(x, 2)
    b.arithmetic("add", b.norm(b.conv(y, 2)), b.constant(1.0))
    after = check_rewrite(drop_unused, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "x2", "conv1"]


def test_what_is_used_stays():
    b = GraphBuilder()
    graph = b.build(b.conv(b.input(1, 3, 4, 4), 2))
    assert check_rewrite(drop_unused, graph, b.values()) is graph
