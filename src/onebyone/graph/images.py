"""A graph for another number of images: the same nodes, and another first size."""

from collections.abc import Set
from dataclasses import fields, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from onebyone.graph.graph import Constant, Graph, Input, Node, Opaque


def of_images(graph: Graph, images: int) -> Set[str]:
    """Return the nodes whose values have an entry for each image, of a graph made for `images`.

    They are the inputs with that first size, and what depends on them.
    """
    found: set[str] = set()
    for node in graph:
        is_given = isinstance(node, Input) and node.shape[:1] == (images,)
        if is_given or found.intersection(node.inputs):
            found.add(node.name)
    return found


def why_joined(graph: Graph, images: int) -> str:
    """Return why images cannot be computed one by one, or nothing.

    No kind of node reads one image to compute another, but what PyTorch runs may.
    """
    opaque = dict.fromkeys(str(node.target) for node in graph if isinstance(node, Opaque))
    if opaque:
        return f"PyTorch runs {', '.join(opaque)}, which may look at several images"
    for node in graph:
        if _is_per_image(node, images) and not torch.equal(node.value, _repeated(node, images)):
            return f"{node.place}: a constant has an entry for each of {images} images"
    if not of_images(graph, images):
        return f"no input has {images} images"
    return ""


def with_images(graph: Graph, before: int, after: int) -> Graph:
    """Return a graph that was made for `before` images for `after` images; tensors are shared.

    Constants that have the same entry for each image, such as zeros, have one for each again.
    """
    if before == after:
        return graph
    changing = of_images(graph, before)
    nodes: list[Node] = []
    for node in graph:
        if _is_per_image(node, before):
            node = replace(node, value=_repeated(node, after))
            changing = {*changing, node.name}
        is_changing = node.name in changing
        nodes.append(replace(node, shape=(after, *node.shape[1:])) if is_changing else node)
    return Graph({node.name: node for node in nodes}, graph.outputs, graph.changed)


def _is_per_image(node: Node, images: int) -> TypeGuard[Constant]:
    return isinstance(node, Constant) and images > 1 and node.shape[0] == images


def _repeated(constant: Constant, images: int) -> Tensor:
    """Return a constant with its first entry for each image."""
    return constant.value[:1].expand(images, *constant.value.shape[1:]).contiguous()


def first_difference(one: Graph, other: Graph) -> Node | None:
    """Return the first node of `other` that does not compute what that of `one` does, or None."""
    for ours, theirs in zip(one, other, strict=False):
        if type(ours) is not type(theirs) or not all(
            _are_same(getattr(ours, field.name), getattr(theirs, field.name))
            for field in fields(ours)
        ):
            return theirs
    if len(one) != len(other) or one.outputs != other.outputs:
        return list(other)[-1]
    return None


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or (one.dtype == other.dtype and torch.equal(one, other))
    return type(one) is type(other) and bool(one == other)
