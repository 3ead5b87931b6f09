"""PyTorch's own door: `torch.compile(model, backend="onebyone")`.

PyTorch finds the function below by an entry point of the package, without an import of ours.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from onebyone.compiler.compile import compile_captured
from onebyone.compiler.model import CompiledModel
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import host_target
from onebyone.errors import OneByOneError, UnknownNameError
from onebyone.graph import capture

MOST_SHAPES = 16
"""How many sets of shapes one graph is compiled for; further ones run in PyTorch."""


def onebyone(
    graph_module: fx.GraphModule,
    example_inputs: Sequence[Any],  # noqa: ARG001  # PyTorch's protocol has it; we wait for a call
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """Compile a graph of `torch.compile` for this CPU; what cannot be compiled runs in PyTorch.

    Args:
        graph_module: What PyTorch has seen the network do.
        example_inputs: Arguments of its first call, the network's weights among them.
        options: Those of `CompileOptions` by name, as in
            `torch.compile(..., options={"threads": 1})`.
        mode: None; PyTorch hands over what it is given, and all modes are those of inductor.

    Raises:
        UnknownNameError: If there is no option of a name, or a mode is given.
        ShapeError: If an option's value is not what it may be. PyTorch reports all errors of
            backends, at the first call, as `BackendCompilerFailed`, with their text.
    """
    chosen = CompileOptions.named(options or {})
    if mode is not None:
        raise UnknownNameError(
            f"`mode` (={mode!r}) is for inductor; this backend takes `options`: "
            f"{', '.join(CompileOptions.names())}"
        )
    return Specialized(graph_module, _weights(graph_module), chosen)


def _weights(graph_module: fx.GraphModule) -> frozenset[int]:
    """Return which arguments are the network's own tensors; PyTorch has marked them."""
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    return frozenset(
        index
        for index, node in enumerate(placeholders)
        if node.meta.get("tensor_dict", {}).get("_dynamo_static_input_type")
    )


class Specialized:
    """Run a graph on native code made for the shapes that come, when they come first.

    Weights are part of the code. If one has been changed since, the code is made anew.
    """

    def __init__(
        self, graph_module: fx.GraphModule, weights: frozenset[int], options: CompileOptions
    ) -> None:
        self._graph_module = graph_module
        self._weights = weights
        self._options = options
        self._compiled: dict[Any, CompiledModel | None] = {}
        self._versions: tuple[Any, ...] = ()

    @property
    def compiled(self) -> tuple[CompiledModel, ...]:
        """What has been compiled so far."""
        return tuple(model for model in self._compiled.values() if model is not None)

    def __call__(self, *arguments: Any) -> Any:
        """Run the graph; gradients, if wanted, are PyTorch's business."""
        if _wants_gradient(arguments):
            return self._graph_module(*arguments)
        versions = tuple(_version(arguments[index]) for index in sorted(self._weights))
        if versions != self._versions:
            self._versions = versions
            self._compiled.clear()
        key = tuple(
            _facts(leaf) for index, leaf in enumerate(arguments) if index not in self._weights
        )
        if key not in self._compiled and len(self._compiled) < MOST_SHAPES:
            self._compiled[key] = self._compile(arguments)
        model = self._compiled.get(key)
        return self._graph_module(*arguments) if model is None else model(*arguments)

    def _compile(self, arguments: tuple[Any, ...]) -> CompiledModel | None:
        tensors = [index for index, leaf in enumerate(arguments) if isinstance(leaf, Tensor)]
        constants = [
            place
            for place, index in enumerate(tensors)
            if index in self._weights or arguments[index].ndim == 0
        ]
        try:
            captured = capture(self._graph_module, arguments, constants=constants)
            return compile_captured(captured, target=host_target(), options=self._options)
        except OneByOneError as error:
            warnings.warn(f"runs in PyTorch, not compiled: {error}", stacklevel=2)
            return None


def _wants_gradient(arguments: Sequence[Any]) -> bool:
    return torch.is_grad_enabled() and any(
        isinstance(leaf, Tensor) and leaf.requires_grad for leaf in arguments
    )


def _facts(argument: Any) -> Any:
    """Return what code is made for: a tensor's shape, or a number (it may come as a tensor)."""
    if not isinstance(argument, Tensor):
        return argument
    return argument.item() if argument.ndim == 0 else tuple(argument.shape)


def _version(weight: Tensor) -> tuple[int, int]:
    """Return what changes when a weight's numbers are changed or moved."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version
