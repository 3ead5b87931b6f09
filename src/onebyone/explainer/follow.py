"""From a user's network to the graph that all else is read from, as well as it can be had."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from onebyone.errors import ModelError, OneByOneError, first_line
from onebyone.graph import Graph, capture, capture_example, capture_layers


@dataclass(frozen=True, slots=True)
class Followed:
    """A network as a graph.

    Args:
        network: What was followed: the user's network in evaluation, without hooks; it shares its
            tensors.
        graph: What it computes.
        is_whole: Whether the graph says how layers hang together; else it is islands.
        dropouts: Names of the nodes whose values dropout is applied to in training.
        notes: What could not be read, or only in part, and why.
    """

    network: Callable[..., Any]
    graph: Graph
    is_whole: bool = True
    dropouts: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def follow(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> Followed:
    """Return the graph of a network: the whole, or its layers each by itself.

    A network that looks at numbers is followed by what it does for those of the example.

    Args:
        model: The network, or a function; it is left unchanged.
        args: Example arguments. Where tensors are on the meta device, their shape is all that
            counts.
        kwargs: The same, by name.

    Raises:
        ModelError: If the network does not run on the example.
    """
    network = as_evaluated(model)
    kwargs = dict(kwargs or {})
    try:
        captured = capture(network, args, kwargs)
    except OneByOneError as error:
        if not _has_numbers(network, args, kwargs):
            raise
        refusal = str(error)
    else:
        return Followed(network, captured.graph, dropouts=captured.dropouts)
    try:
        captured, places = capture_example(network, *_copied(args, kwargs))
    except OneByOneError as error:
        refusal = str(error)
    else:
        return Followed(
            network, captured.graph, dropouts=captured.dropouts, notes=(_path_note(places),)
        )
    graph = _layers(network, args, kwargs)
    return Followed(network, graph, is_whole=False, notes=(_islands_note(refusal),))


def as_evaluated(model: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of a network in evaluation, without the user's hooks; it shares all tensors.

    What is no module, or cannot be copied, is returned as it is.
    """
    if not isinstance(model, nn.Module):
        return model
    held = (value for module in model.modules() for value in vars(module).values())
    others = (value for value in held if isinstance(value, Tensor))  # a weight that a hook makes
    tensors = [*model.parameters(), *model.buffers(), *others]
    try:
        network = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    except Exception:  # a lock, an open file: a network may hold anything
        return model
    for module in network.modules():
        module._forward_hooks.clear()  # pyright: ignore[reportPrivateUsage]
        module._forward_pre_hooks.clear()  # pyright: ignore[reportPrivateUsage]
    return network.eval()


def _has_numbers(
    network: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    weights = list(network.parameters()) if isinstance(network, nn.Module) else []
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    return not any(tensor.is_meta for tensor in (*weights, *tensors))


def _copied(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Copy the tensors, since a network may write into what it is given."""

    def copied(leaf: object) -> object:
        return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf

    return tree_map(copied, (args, dict(kwargs)))


def _path_note(places: tuple[str, ...]) -> str:
    return (
        "what the network does depends on numbers; this is what it does for those of the example. "
        f"It looked at them, or drew some at random, in {'; '.join(places)}"
    )


def _islands_note(refusal: str) -> str:
    return (
        "how the layers hang together could not be read, so that roles are by numbers of channels "
        f"alone, and blocks, counterfactuals and information are missing: {refusal}"
    )


def _layers(network: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Graph:
    args, kwargs = _copied(args, kwargs)
    try:
        return capture_layers(network, args, kwargs)
    except Exception as error:  # a user's network may raise anything
        tensors = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ModelError(
            f"the model does not run on inputs of shape {shapes}: {first_line(error)}; "
            "check that it does in PyTorch, or name another shape"
        ) from error
