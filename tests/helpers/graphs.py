"""What a captured network must satisfy, whatever it is."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from onebyone.graph import Captured, Graph, Opaque, capture, interpret, verify

# A float32 sum of a few thousand products is off by 1e-6 or so of its size, and networks add such
# errors up; a graph holds scalars as float32 numbers, which a float64 run sees as errors of 6e-8.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-6}


def opaque_operators(graph: Graph) -> set[str]:
    """The names of PyTorch's operators in a graph, without views and parts of results."""
    names = {
        getattr(node.target, "overloadpacket", node.target).__name__
        for node in graph
        if isinstance(node, Opaque)
    }
    return names - {"reshape", "permute", "expand", "getitem"}


def check_capture(
    model: Callable[..., Any], *args: Any, opaque: Collection[str] = (), **kwargs: Any
) -> Graph:
    """A captured network keeps the rules, means what it meant, and leaves to PyTorch just the
    named operators."""
    if isinstance(model, nn.Module):
        model.eval()
    captured = capture(model, args, kwargs)
    verify(captured.graph)
    assert str(captured.graph).count("\n") == len(captured.graph)
    assert opaque_operators(captured.graph) == set(opaque)
    check_meaning(captured, model, args, kwargs, torch.float32)
    if isinstance(model, nn.Module):
        model = copy.deepcopy(model).double()
    double = [tree_map_only(Tensor, _doubled, tree) for tree in (args, kwargs)]
    check_meaning(captured, model, *double, torch.float64)
    return captured.graph


def check_meaning(
    captured: Captured, model: Callable[..., Any], args: Any, kwargs: Any, dtype: torch.dtype
) -> None:
    """A graph gives what its network gives, nested alike, and leaves the same in its inputs."""
    with torch.no_grad():
        # A network may work in place: it gets arguments of its own.
        copied = [tree_map_only(Tensor, Tensor.clone, tree) for tree in (args, kwargs)]
        wanted, out_spec = tree_flatten(model(*copied[0], **copied[1]))
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    outputs = interpret(captured.graph, tensors, dtype=dtype)
    left = [tensor.clone() for tensor in tensors]
    captured.write_back([left[node.index] for node in captured.graph.inputs], outputs)
    wanted += [leaf for leaf in tree_flatten(copied)[0] if isinstance(leaf, Tensor)]
    got, got_spec = tree_flatten(captured.unflatten(outputs))
    assert got_spec == out_spec
    for one, other in zip([*got, *left], wanted, strict=True):
        if not isinstance(other, Tensor) or not other.is_floating_point():
            torch.testing.assert_close(one, other)
            continue
        assert one.shape == other.shape
        scale = float(other.abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(
            one.to(other.dtype), other, rtol=0, atol=TOLERANCE[dtype] * max(scale, 1e-3)
        )


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
