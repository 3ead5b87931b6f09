"""PyTorch's own door: `torch.compile(model, backend="onebyone")`.

PyTorch finds the function below by an entry point of the package, without an import of ours.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, fx

from onebyone.compiler.batched import ANY, BatchedModel
from onebyone.compiler.compile import compile_captured
from onebyone.compiler.fallback import describe_fallbacks
from onebyone.compiler.machine.calibrate import calibrated_target
from onebyone.compiler.model import CompiledModel
from onebyone.compiler.operator import is_plain, is_transformed, is_watched
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.several import compile_batches
from onebyone.errors import CompileError, OneByOneError, UnknownNameError, warn_user
from onebyone.graph import capture
from onebyone.graph.exact import exactly

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


@dataclass(frozen=True, slots=True)
class Batch:
    """Name the arguments of a graph that change with the number of images.

    Args:
        tensors: Those whose first size it is.
        counts: Those that are the number itself.
    """

    tensors: frozenset[int]
    counts: frozenset[int]

    @classmethod
    def of(cls, graph_module: fx.GraphModule) -> Self | None:
        """Return what PyTorch says of it, or None if only one number is to come, or it is unclear.

        It stands as a symbol in the examples of a graph that is for any number.
        """
        nodes = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
        given = [node.meta.get("example_value") for node in nodes]
        tensors = [one for one in given if isinstance(one, Tensor)]
        symbol = next((str(one.shape[0]) for one in tensors if _has_symbol(one.shape[:1])), None)
        elsewhere = {str(size) for one in tensors for size in one.shape[1:]}
        if symbol is None or not symbol.isidentifier() or symbol in elsewhere:
            return None
        changing = {i: one for i, one in enumerate(given) if isinstance(one, Tensor) and one.ndim}
        return cls(
            frozenset(i for i, one in changing.items() if str(one.shape[0]) == symbol),
            frozenset(i for i, one in enumerate(given) if str(one) == symbol),
        )

    def arguments(self, given: Sequence[Any], images: int) -> tuple[Any, ...]:
        """Return arguments with so many images; their numbers are of no account."""
        return tuple(
            images
            if place in self.counts
            else leaf[:1].expand(images, *leaf.shape[1:]).contiguous()
            if place in self.tensors
            else leaf
            for place, leaf in enumerate(given)
        )


def _has_symbol(sizes: Sequence[Any]) -> bool:
    return any(isinstance(size, torch.SymInt) for size in sizes)


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

    If PyTorch has seen the number of images change, the code is for any number. Weights are part of
    the code. If one has been changed since, the code is made anew. What PyTorch has to run is told
    once, or an error with the option `strict`.
    """

    def __init__(
        self, graph_module: fx.GraphModule, weights: frozenset[int], options: CompileOptions
    ) -> None:
        self._graph_module = graph_module
        self._places = tuple(sorted(weights))
        self._options = options
        self._batch = Batch.of(graph_module)
        self._compiled: dict[Any, CompiledModel | BatchedModel | None] = {}
        self._weights: tuple[Weight, ...] | None = None
        self._told: set[str] = set()

    @property
    def compiled(self) -> tuple[CompiledModel | BatchedModel, ...]:
        """What has been compiled so far."""
        return tuple(model for model in self._compiled.values() if model is not None)

    def __call__(self, *arguments: Any) -> Any:
        """Run the graph.

        Raises:
            CompileError: If PyTorch would have to run it, or a part, and the option is `strict`.
        """
        reason = _why_pytorch(arguments)
        if reason:
            self._tell(reason)
            return self._graph_module(*arguments)
        if not self._know_weights([arguments[place] for place in self._places]):
            self._tell("a weight is no dense tensor on the CPU")
            return self._graph_module(*arguments)
        key = self._key(arguments)
        if key not in self._compiled:
            if len(self._compiled) >= MOST_SHAPES:
                self._tell(f"there is native code for {MOST_SHAPES} sets of arguments already")
                return self._graph_module(*arguments)
            self._compiled[key] = self._compile(arguments)
        model = self._compiled[key]
        return self._graph_module(*arguments) if model is None else model(*arguments)

    def _know_weights(self, weights: Sequence[Tensor]) -> bool:
        """Forget code for other weights; return whether there can be code for these."""
        known = self._weights
        if known is None or not all(map(Weight.is_same, known, weights)):
            self._compiled.clear()
            plain = all(map(is_plain, weights))
            self._weights = tuple(map(Weight.of, weights)) if plain else None
        return self._weights is not None

    def _key(self, arguments: tuple[Any, ...]) -> Any:
        """Return what code is made for."""
        batch, constants = self._batch, frozenset(self._places)
        facts = {i: _facts(leaf) for i, leaf in enumerate(arguments) if i not in constants}
        if batch is not None:
            facts |= dict.fromkeys(batch.counts, "any")
            facts |= {i: ("any", *facts[i][1:]) for i in batch.tensors}
        return tuple(facts.values())

    def _compile(self, arguments: tuple[Any, ...]) -> CompiledModel | BatchedModel | None:
        tensors = [index for index, leaf in enumerate(arguments) if isinstance(leaf, Tensor)]
        constants = [
            place
            for place, index in enumerate(tensors)
            if index in self._places or arguments[index].ndim == 0
        ]
        try:
            model = self._for_any(arguments, constants)
            if model is None:
                captured = capture(self._graph_module, arguments, constants=constants)
                target = calibrated_target(self._options.numerics)
                model = compile_captured(captured, target=target, options=self._options)
        except OneByOneError as error:
            if self._options.strict:
                raise
            self._tell(str(error))
            return None
        if model.fallbacks:
            self._warn(describe_fallbacks(model.fallbacks))
        return model

    def _for_any(
        self, arguments: tuple[Any, ...], constants: Collection[int]
    ) -> BatchedModel | None:
        """Return code for any number of images, or None if it has to be made for each."""
        if self._batch is None:
            return None
        several = {
            images: capture(
                self._graph_module, self._batch.arguments(arguments, images), constants=constants
            )
            for images in ANY
        }
        target = calibrated_target(self._options.numerics)
        try:
            return compile_batches(several, target=target, options=self._options, is_any=True)
        except CompileError:
            self._batch = None
            return None

    def _tell(self, reason: str) -> None:
        """Tell that PyTorch runs the graph."""
        if self._options.strict:
            raise CompileError(f"`strict` is on, and PyTorch would have to run this: {reason}")
        self._warn(f"runs in PyTorch, not compiled: {reason}")

    def _warn(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            warn_user(message)


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight as it was when code was made for it.

    Args:
        tensor: The weight.
        address: Where its numbers lay.
        version: How often PyTorch had seen them change; of a tensor made under inference mode,
            which PyTorch does not watch, a copy of the numbers.
    """

    tensor: Tensor
    address: int
    version: int | Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Note how a weight is now."""
        version = tensor.clone() if tensor.is_inference() else tensor._version
        return cls(tensor, tensor.data_ptr(), version)

    def is_same(self, tensor: Tensor) -> bool:
        """Whether a weight is what it was."""
        if tensor is not self.tensor or tensor.data_ptr() != self.address:
            return False
        if isinstance(self.version, Tensor):
            return _same_bits(tensor, self.version)
        return tensor._version == self.version


_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Types by size whose numbers are equal if their bits are; to floats, NaN is never equal."""


def _same_bits(one: Tensor, other: Tensor) -> bool:
    bits = _WHOLE.get(one.element_size(), one.dtype)
    return torch.equal(one.view(bits), other.view(bits))


def _why_pytorch(arguments: Sequence[Any]) -> str:
    """Return why native code cannot run what PyTorch has been told to do, or nothing."""
    if torch.is_autocast_enabled("cpu"):
        return f"autocast to {torch.get_autocast_dtype('cpu')} is on, and native code is float32"
    if torch.is_grad_enabled() and any(
        isinstance(leaf, Tensor) and leaf.requires_grad for leaf in arguments
    ):
        return "gradients are wanted; without them, call it under torch.inference_mode()"
    if is_transformed():
        return "native code has no rules for torch.func's transforms"
    if is_watched():
        return "a mode of PyTorch's watches all operators"
    return ""


def _facts(argument: Any) -> Any:
    """Return what code is made for: a tensor's shape, or a number (it may come as a tensor)."""
    if not isinstance(argument, Tensor):
        return exactly(argument)
    shape = tuple(argument.shape)
    return shape if shape else (argument.dtype, exactly(argument.item()))
