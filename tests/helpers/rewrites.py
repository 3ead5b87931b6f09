"""The contract of rewrites: another graph, the same values."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from onebyone.graph.graph import Graph, Node, Slice
from onebyone.graph.interpret import interpret
from onebyone.graph.verify import verify


def check_rewrite(
    rewrite: Callable[[Graph], Graph], graph: Graph, inputs: Sequence[Tensor], *, terms: int = 0
) -> Graph:
    """A rewrite gives a valid graph of the same values, and has then done all it can.

    Tensors of the model, its inputs and the places that nodes came from stay as they are.

    Args:
        rewrite: What is tested.
        graph: A graph that it may or may not fit.
        inputs: For the graph.
        terms: How many products with newly rounded weights are summed for one output. 0 where no
            weight changes, or where the changed ones are numbers that float32 holds exactly.

    Returns:
        The rewritten graph.
    """
    verify(graph)
    kept = [tensor.detach().clone() for tensor in _tensors(graph)]
    expected = interpret(graph, inputs, dtype=torch.float64)
    after = rewrite(graph)
    verify(after)
    assert after.inputs == graph.inputs, "the user's arguments changed"
    views = [[ref.view for ref in one.outputs] for one in (graph, after)]
    assert views[0] == views[1], "outputs are shown in another way"
    assert _paths(after) <= _paths(graph), "a path came from nowhere"
    check_same_values(expected, interpret(after, inputs, dtype=torch.float64), terms=terms)
    for old, tensor in zip(kept, _tensors(graph), strict=True):
        torch.testing.assert_close(tensor.detach(), old, rtol=0, atol=0, equal_nan=True)
    changed = differences(after, rewrite(after))
    assert not changed, f"the second application changed {changed}"
    check_fates(graph, after)
    return after


def check_fates(before: Graph, after: Graph) -> None:
    """Every layer has a fate: nodes that compute it, or a reason why none does.

    No node does what no layer asked for, but for slices of what several compute together.
    """
    assert list(after.fates) == list(before.fates), "layers were lost, or came from nowhere"
    computed: dict[str, set[str]] = {}
    for layer, fate in after.fates.items():
        assert bool(fate.nodes) or fate.why, f"{layer} went without a reason"
        for name in fate.nodes:
            computed.setdefault(name, set()).add(layer)
    assert set(computed) <= set(after.nodes), "layers are computed by nodes that are not there"
    for node in after:
        assert node.name in computed or isinstance(node, Slice), f"{node.name} computes no layer"
    for name, layers in computed.items():
        if layers <= set(before.nodes):
            paths = {before[layer].path for layer in layers}
            assert set(after[name].path.split(" + ")) <= paths | {""}, (
                f"{name} is not at its layers"
            )


def check_same_values(expected: list[Tensor], got: list[Tensor], *, terms: int) -> None:
    """Outputs are the same up to rounding of weights to float32, NaN and infinity included."""
    # Rounding errors of a sum grow like a random walk; 4 is room for several layers in a row.
    relative = 4 * torch.finfo(torch.float32).eps * terms**0.5 if terms else 1e-12
    assert len(got) == len(expected)
    for one, other in zip(expected, got, strict=True):
        largest = float(one[one.isfinite()].abs().max()) if one.isfinite().any() else 0.0
        torch.testing.assert_close(other, one, rtol=0, atol=relative * largest, equal_nan=True)


def differences(before: Graph, after: Graph) -> list[str]:
    """Return the names of nodes that are not the same in both graphs, in order; or "outputs"."""
    if list(before.nodes) != list(after.nodes):
        return sorted(set(before.nodes) ^ set(after.nodes)) or ["the order of nodes"]
    changed = [a.name for a, b in zip(before, after, strict=True) if not _is_same_node(a, b)]
    return changed if before.outputs == after.outputs else [*changed, "outputs"]


def _is_same_node(one: Node, other: Node) -> bool:
    return type(one) is type(other) and all(
        _is_same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
    )


def _is_same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or torch.equal(one, other)
    return one is other or (type(one) is type(other) and one == other)


def _tensors(graph: Graph) -> Iterator[Tensor]:
    """Go through the weights and constants of a graph."""
    for node in graph:
        values = (getattr(node, field.name) for field in fields(node))
        yield from (value for value in values if isinstance(value, Tensor))


def _paths(graph: Graph) -> set[str]:
    """All module paths; a merged node has several, with + between them."""
    return {path for node in graph for path in node.path.split(" + ") if path}
