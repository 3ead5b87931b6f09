"""The layers of a network that cannot be followed, each by itself: `capture_layers`."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from onebyone.graph.builder import GraphBuilder, Seen
from onebyone.graph.calls import Call, Value
from onebyone.graph.convert import convert
from onebyone.graph.graph import Graph
from onebyone.graph.places import Places
from onebyone.graph.recorder import replaced


def capture_layers(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> Graph:
    """Run a network in PyTorch, and return the layers with multiply-adds that it ran.

    Nothing is known of how they hang together: each reads inputs of the graph that nobody else
    reads, and is an output.

    Args:
        model: A module in evaluation mode, or any function; its weights must have numbers.
        args: Arguments, whose numbers count.
        kwargs: The same, by name.

    Raises:
        Exception: Whatever the network raises.
    """
    watcher = _Watcher(model)
    with torch.inference_mode(mode=False), torch.no_grad(), watcher:
        model(*args, **dict(kwargs or {}))
    builder = GraphBuilder(call.path for call in watcher.calls)
    index, refs = 0, []
    for call in watcher.calls:
        seen: dict[Value, Seen] = {}
        builder.path = ""
        for value in _values((call.args, dict(call.kwargs))):
            seen[value] = builder.input(index, value)
            index += 1
        builder.path = call.path
        used = {value for value in call.outputs if value is not None}
        for value, result in zip(call.outputs, convert(builder, call, seen, used), strict=True):
            if value is not None and result is not None:
                refs.append(builder.read(value, {value: result}))
    return builder.finish(refs)


class _Watcher(TorchDispatchMode):
    """Let operators run, and write down those that have multiply-adds.

    Args:
        network: What is run; a module's parts give the calls their paths.
    """

    def __init__(self, network: object) -> None:
        super().__init__()
        from torch.utils.flop_counter import flop_registry

        self.calls: list[Call] = []
        self._places = Places(network)
        self._counted = flop_registry
        is_module = isinstance(network, nn.Module)
        weights = (*network.parameters(), *network.buffers()) if is_module else ()
        self._weights = {_storage(weight) for weight in weights}

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in self._counted:
            seen_args, seen_kwargs = replaced((args, kwargs or {}), self._seen)
            many = isinstance(result, (tuple, list))
            outputs = tuple(
                _value(one) if isinstance(one, Tensor) else None
                for one in (result if many else (result,))
            )
            path = self._places.running()
            self.calls.append(Call(func, seen_args, seen_kwargs, outputs, many, path))
        return result

    def _seen(self, tensor: Tensor) -> Tensor | Value:
        is_weight = _storage(tensor) in self._weights
        return tensor.detach() if is_weight else _value(tensor)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _value(tensor: Tensor) -> Value:
    return Value(tuple(tensor.shape), tensor.dtype, tensor.is_contiguous())


def _values(tree: Any) -> list[Value]:
    """Return the values in nested tuples, lists and dicts."""
    if isinstance(tree, Value):
        return [tree]
    items = tree.values() if isinstance(tree, dict) else tree
    if not isinstance(tree, (tuple, list, dict)):
        return []
    return [value for item in items for value in _values(item)]
