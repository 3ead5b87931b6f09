"""Which operators a file has, and those of them that nobody can convert."""

from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any

from onebyone.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import GraphProto, ModelProto, NodeProto

STANDARD = ("", "ai.onnx")
"""How files call the domain of ONNX's own operators."""


def count_operators(model: "ModelProto") -> Counter[str]:
    """Return how often each operator occurs, in branches and in functions of the file too."""
    return Counter(operator_name(node.domain, node.op_type) for node in _nodes(model))


def check_operators(model: "ModelProto") -> None:
    """Check that all operators of a file can be converted.

    Raises:
        ModelError: If some cannot; names all of them.
    """
    onnx2fx: Any = import_module("onnx2fx")
    opsets = {domain.domain: domain.version for domain in model.opset_import}
    own = {(function.domain, function.name) for function in model.functions}
    unknown = {
        operator_name(node.domain, node.op_type)
        for node in _nodes(model)
        if (node.domain, node.op_type) not in own
        and not onnx2fx.is_supported(node.op_type, node.domain, opsets.get(node.domain, 1))
    }
    if unknown:
        many = "operators" if len(unknown) > 1 else "an operator"
        raise ModelError(
            f"it has {many} that cannot be converted to PyTorch: {', '.join(sorted(unknown))}; "
            "export the network without, or name the PyTorch network that it was made from, as "
            "file.py:FUNCTION"
        )


def operator_name(domain: str, operator: str) -> str:
    """Return an operator's name, behind its domain if that is not ONNX's own.

    Example:
        >>> operator_name("", "Conv"), operator_name("com.microsoft", "FusedConv")
        ('Conv', 'com.microsoft.FusedConv')
    """
    return operator if domain in STANDARD else f"{domain}.{operator}"


def _nodes(model: "ModelProto") -> "Iterator[NodeProto]":
    yield from nodes_of(model.graph)
    for function in model.functions:
        yield from function.node


def nodes_of(graph: "GraphProto") -> "Iterator[NodeProto]":
    """Give the nodes of a graph, and of the branches and loops in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)
