"""`check_rewrite` fails on planted faults."""

from dataclasses import replace

import pytest
import torch

from onebyone.errors import InvalidGraphError
from onebyone.graph.graph import (
    Constant,
    Convolution,
    Fate,
    Function,
    Graph,
    Input,
    Ref,
    View,
)
from tests.helpers.rewrites import check_rewrite, differences


def make_graph():
    x = Input(name="x", shape=(1, 30, 4, 4), index=0)
    shape = (1, 20, 4, 4)
    weight, bias = torch.randn(20, 30, 1, 1), torch.randn(20)
    conv = Convolution(name="conv", inputs=("x",), shape=shape, path="a", weight=weight, bias=bias)
    two = Convolution(
        name="two", inputs=("conv",), shape=shape, path="b", weight=torch.randn(20, 20, 1, 1)
    )
    return Graph.of([x, conv, two], [Ref("two")]), [torch.randn(1, 30, 4, 4)]


def with_conv(change):
    """A rewrite that changes facts of the first convolution."""
    return lambda graph: graph.with_changes(
        {"conv": replace(graph["conv"], **change(graph["conv"]))}
    )


def mutating(graph):
    """Gives a graph of the right values, and spoils the model's own."""
    after = with_conv(lambda conv: {"bias": conv.bias.clone()})(graph)
    graph["conv"].bias.add_(1.0)
    return after


def never_done(graph):
    extra = Constant(name=f"c{len(graph)}", shape=(1, 1, 1, 1), value=torch.zeros(1, 1, 1, 1))
    return Graph.of([extra, *graph], graph.outputs)


def without_account(graph):
    """Gives a node another name, and loses the account of it."""
    if "conv" not in graph.nodes:
        return graph
    x, conv, two = graph
    return Graph.of([x, replace(conv, name="z"), replace(two, inputs=("z",))], graph.outputs)


def with_fates(**fates):
    """A rewrite that does nothing, and says that something else became of some layers."""
    return lambda graph: replace(graph, changed={**graph.fates, **fates})


def shown_otherwise(graph):
    return Graph.of(graph, [Ref("two", View.NHWC)])


def other_arguments(graph):
    extra = Input(name="y", shape=(1, 1, 1, 1), index=1)
    return Graph.of([extra, *graph], graph.outputs)


FAULTS = {
    "a bias": (with_conv(lambda conv: {"bias": conv.bias + 1e-4}), "not close"),
    "a weight": (with_conv(lambda conv: {"weight": conv.weight * (1 + 1e-5)}), "not close"),
    "an activation": (with_conv(lambda conv: {"activation": Function("relu")}), "not close"),
    "infinity": (with_conv(lambda conv: {"bias": conv.bias * torch.inf}), "not close"),
    "a path": (with_conv(lambda conv: {"path": "elsewhere"}), "path came from nowhere"),
    "the model": (mutating, "not equal"),
    "never done": (never_done, "the second application changed"),
    "the view of an output": (shown_otherwise, "in another way"),
    "the arguments": (other_arguments, "arguments"),
    "the account": (without_account, "layers were lost, or came from nowhere"),
    "the layers": (with_fates(three=Fate(("two",))), "layers were lost, or came from nowhere"),
    "a fate": (with_fates(conv=Fate(("three",))), "nodes that are not there"),
    "a reason": (with_fates(two=Fate(())), "two went without a reason"),
    "who computes a layer": (with_fates(two=Fate((), "why")), "two computes no layer"),
    "the place of a layer": (
        with_fates(x=Fate(("x", "conv")), conv=Fate(("two",))),
        "conv is not at its layers",
    ),
}


@pytest.mark.parametrize(("rewrite", "message"), FAULTS.values(), ids=FAULTS)
def test_check_rewrite_sees_a_change_of(rewrite, message):
    graph, inputs = make_graph()
    check_rewrite(lambda g: g, graph, inputs)
    with pytest.raises(AssertionError, match=message):
        check_rewrite(rewrite, graph, inputs)


def test_check_rewrite_allows_rounding_of_weights_and_not_more():
    graph, inputs = make_graph()
    rounding = 1 + torch.finfo(torch.float32).eps / 2 * torch.randn(20, 1, 1, 1).double().sign()

    def rounded(graph):
        weight = graph["conv"].weight
        return with_conv(lambda conv: {"weight": weight.double() * rounding})(graph)

    def once(graph):
        return graph if graph["conv"].weight.dtype == torch.float64 else rounded(graph)

    check_rewrite(once, graph, inputs, terms=31)
    with pytest.raises(AssertionError, match="not close"):
        check_rewrite(once, graph, inputs)


def test_check_rewrite_sees_an_order_that_cannot_run():
    graph, inputs = make_graph()
    x, conv, two = graph
    with pytest.raises(InvalidGraphError):
        check_rewrite(lambda g: Graph.of([x, two, conv], g.outputs), graph, inputs)


def test_differences_names_what_changed():
    graph, _ = make_graph()
    x, conv, two = graph
    assert differences(graph, graph) == []
    copy = replace(conv, weight=conv.weight.clone())
    assert differences(graph, graph.with_changes({"conv": copy})) == []
    assert differences(graph, graph.with_changes({"conv": replace(conv, bias=None)})) == ["conv"]
    assert differences(graph, Graph.of([x, conv], [Ref("conv")])) == ["two"]
    assert differences(graph, Graph.of([x, two, conv], [Ref("two")])) == ["the order of nodes"]
    assert differences(graph, Graph.of(graph, [Ref("conv")])) == ["outputs"]
