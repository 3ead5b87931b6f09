"""Running a network on tensors without numbers, and writing down each operator that it calls.

The inputs are replaced by tensors on PyTorch's meta device, which have a shape and no numbers.
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from onebyone.errors import ModelError, OneByOneError, first_line
from onebyone.graph.calls import Call, Value
from onebyone.graph.recorder import Recorder

_TRAINABLE = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)
"""Layers that do something else in training."""

_LEAVES = (Value, Tensor, str, int, float, torch.dtype, torch.device, type(None))
"""What may stand in a result, nested in containers that PyTorch knows."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a network did.

    Args:
        in_leaves: The flattened arguments: a `Value`, a real tensor if known, or anything else.
        calls: In order.
        outputs: The flattened results: a `Value`, a real tensor, or anything else.
        written: For each input that the network writes into: its `Value`, and the one that it then
            has.
        in_spec: How `(args, kwargs)` were flattened.
        out_spec: How the result was flattened.
        looked: Values whose numbers decided what it did.
        dropped: Values that dropout is applied to, where it does something in training; no call
            tells of it.
    """

    in_leaves: tuple[Any, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Any, ...]
    written: Mapping[Value, Value]
    in_spec: TreeSpec
    out_spec: TreeSpec
    looked: tuple[Value, ...] = ()
    dropped: tuple[Value, ...] = ()

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors that were not known, in the order of the flattened arguments."""
        return tuple(leaf for leaf in self.in_leaves if isinstance(leaf, Value))


def trace(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    constants: Collection[int] = (),
    record: Callable[[object], Recorder] = Recorder,
) -> Trace:
    """Record the operators that a network calls; nothing is computed that depends on the inputs.

    Args:
        function: A module, a graph from `torch.compile` or `torch.export`, or any function.
        args: Example arguments, nested in lists and dicts; of tensors, only shape and type count,
            and the order in memory where the network asks for one.
        kwargs: The same, by name.
        constants: Which of the flattened tensors are known numbers all the same, such as the
            weights that `torch.compile` hands over as arguments.
        record: Makes the one that writes operators down.

    Raises:
        ModelError: If what the network does depends on the numbers in its input, if it is in
            training mode, or if it fails.
    """
    _check_evaluates(function)
    leaves, in_spec = tree_flatten((args, dict(kwargs or {})))
    recorder = record(function)
    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    unknown = [p for i, p in enumerate(positions) if i not in set(constants)]
    # Under inference mode operators come undivided, and others than those that we know.
    with torch.inference_mode(mode=False), torch.no_grad():
        given = list(leaves)
        for position in unknown:
            leaf: Tensor = leaves[position]
            given[position] = torch.empty(leaf.shape, dtype=leaf.dtype, device="meta")
            recorder.add_input(given[position], leaf)
        in_leaves = tuple(map(recorder.reference, given))
        inputs = {in_leaves[position]: given[position] for position in unknown}
        examples = {id(given[position]): leaves[position] for position in unknown}
        users = _UsersFunctions(recorder, examples)
        result = _run(function, tree_unflatten(given, in_spec), recorder, users)
        flat, out_spec = tree_flatten(result)
        outputs: tuple[Any, ...] = tuple(map(recorder.reference, flat))
        written = _written(inputs, recorder)
    for leaf in outputs:
        _check_result(leaf)
    return Trace(
        in_leaves,
        tuple(recorder.calls),
        outputs,
        written,
        in_spec,
        out_spec,
        looked=recorder.looked,
        dropped=tuple(users.dropped),
    )


def _written(inputs: Mapping[Value, Tensor], recorder: Recorder) -> dict[Value, Value]:
    """Return the inputs that have another value than in the beginning, and which."""
    written: dict[Value, Value] = {}
    for value, tensor in inputs.items():
        if tuple(tensor.shape) != value.shape or not tensor.is_contiguous():
            raise ModelError(
                f"the model changes the shape of its input {value.shape} in place; "
                "run it in PyTorch, or let it work on a view"
            )
        now = recorder.value_after(value, tensor)
        if now is not value:
            written[value] = now
    return written


def _check_result(leaf: object) -> None:
    """Check that part of a result is nothing that might hide a tensor."""
    if not isinstance(leaf, _LEAVES):
        raise ModelError(
            f"the model returns a {type(leaf).__name__}, whose tensors cannot be found; "
            "it must return tensors, nested in tuples, lists and dicts"
        )


def _check_evaluates(function: Callable[..., Any]) -> None:
    """Check that a module and the layers in it are not in training mode."""
    if not isinstance(function, nn.Module):
        return
    is_traced = isinstance(function, fx.GraphModule)  # these don't keep the mode of their model
    for name, module in function.named_modules():
        if module.training and (isinstance(module, _TRAINABLE) or not (name or is_traced)):
            place = name or type(function).__name__
            raise ModelError(f"{place} is in training mode; call model.eval() first")


def _run(
    function: Callable[..., Any],
    given: tuple[Any, Any],
    recorder: "Recorder",
    users: "_UsersFunctions",
) -> Any:
    """Call the function under the recorder's eyes, and put the place before what goes wrong."""
    args, kwargs = given
    shapes = ", ".join(str(tuple(v.shape)) for v in tree_flatten(given)[0] if isinstance(v, Tensor))
    try:
        # Autocast would convert real weights, and not tensors without numbers: here all is float32.
        with (
            torch.autocast("cpu", enabled=False),
            recorder,
            users,
        ):
            if isinstance(function, fx.GraphModule):
                return _Interpreter(function, recorder).run_with(args, kwargs)
            return function(*args, **kwargs)
    except OneByOneError:
        raise
    except Exception as error:
        path = recorder.node_path or recorder.places.of_error(error)
        place = f"{path}: " if path else ""
        raise ModelError(
            f"{place}the model cannot be followed on inputs of shape {shapes}: "
            f"{first_line(error)}; check that it runs on them in PyTorch, "
            "and that it never looks at their numbers"
        ) from error


class _UsersFunctions(TorchFunctionMode):
    """Attend to functions that take or give numbers without calling an operator.

    Tensors that are made from numbers are made on the CPU, where they keep them:
    `torch.tensor([1.0], device=x.device)` would lose them before any operator is called.
    Autocast, which would convert weights and not tensors without numbers, is seen here only. And an
    input that is asked for in an order that its example has in memory is itself, not a copy, which
    tells where it is written to. What dropout is applied to is kept: it calls nothing.

    Args:
        recorder: Who writes down the operators.
        examples: By the identity of the tensor that stands for it, each input's example.
    """

    def __init__(self, recorder: Recorder, examples: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._recorder = recorder
        self._examples = examples
        self.dropped: list[Value] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            raise self._recorder.error(
                f"the model switches autocast to {dtype} on, and all is computed in float32 here"
            )
        kwargs = dict(kwargs or {})
        if func in _DROPOUTS and _rate(args, kwargs) > 0:
            dropped = self._recorder.reference(args[0] if args else kwargs.get("input"))
            self.dropped += [dropped] if isinstance(dropped, Value) else []
        if func in _LOOKING:
            self._recorder.check_unlooked(args[0])
        if func is Tensor.new_tensor:
            like, *args = args
            func, kwargs = torch.tensor, {"dtype": like.dtype, **kwargs}
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and _is_meta(
            kwargs.get("device")
        ):
            kwargs["device"] = "cpu"
        order = _wanted_order(func, args, kwargs)
        if order is not None and id(args[0]) in self._examples:
            is_kept = self._examples[id(args[0])].is_contiguous(memory_format=order)
            return args[0] if is_kept else args[0].clone()
        return func(*args, **kwargs)


def _wanted_order(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> torch.memory_format | None:
    """Return the order in memory that a method asks for, if it asks for nothing else."""
    if func is Tensor.contiguous:
        return kwargs.get("memory_format", args[1] if len(args) > 1 else torch.contiguous_format)
    orders = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)
    is_only = func is Tensor.to and len(args) == 1 and set(kwargs) == {"memory_format"}
    return kwargs["memory_format"] if is_only and kwargs["memory_format"] in orders else None


_LOOKING = {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__}
"""Functions that give a tensor's numbers away."""


_DROPOUTS = {
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    *(torch.dropout, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout),
}
"""Functions that drop numbers in training."""


def _rate(args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
    """Return the share that a dropout drops; PyTorch's functions have 0.5 where none is given."""
    return kwargs.get("p", args[1] if len(args) > 1 else 0.5)


def _is_meta(device: Any) -> bool:
    return device is not None and torch.device(device).type == "meta"


class _Interpreter(fx.Interpreter):
    """Run a traced graph, and say of each node which module it came from."""

    def __init__(self, module: fx.GraphModule, recorder: Recorder) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._recorder = recorder

    def run_with(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run on arguments by position and by name."""
        if kwargs:
            args = inspect.signature(self.module.forward).bind(*args, **kwargs).args
        return self.run(*args)

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, with its module as the place."""
        self._recorder.node_path = _node_path(n)
        return super().run_node(n)


_PREFIX = re.compile(r"^L\[['\"]\w+['\"]\]\.?")
_INDEX = re.compile(r"(?:\._modules)?\[['\"]?([^'\"\]]+)['\"]?\]")


def _node_path(node: fx.Node) -> str:
    """Return the dotted path of the module that a node of a traced graph came from."""
    stack = node.meta.get("nn_module_stack")
    return clean_path(str(list(stack.values())[-1][0])) if stack else ""


def clean_path(path: str) -> str:
    """Turn TorchDynamo's way of naming a module into the name that PyTorch has for it.

    Example:
        >>> clean_path("L['self'].layer1[0].conv1"), clean_path("layer1.0.conv1")
        ('layer1.0.conv1', 'layer1.0.conv1')
        >>> clean_path("L['self']._modules['fc']._modules['a']")
        'fc.a'
    """
    return _INDEX.sub(r".\1", _PREFIX.sub("", path)).strip(".").replace("_modules.", "")
