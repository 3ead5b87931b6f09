"""Running a network on tensors without numbers, and writing down each operator that it calls.

The inputs are replaced by tensors on PyTorch's meta device, which have a shape and no numbers. Every
operator that meets one is recorded; one that meets only real tensors, such as weights, is simply run,
so that whatever does not depend on the inputs arrives as a constant.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from onebyone.errors import ModelError, OneByOneError, first_line

_aten = torch.ops.aten

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
"""Layers that do something else in training."""

_LOOKS_AT_NUMBERS = {_aten._local_scalar_dense, _aten.is_nonzero, _aten.equal, _aten.item}

_KNOWN_FROM_SHAPE = {
    _aten.new_zeros: _aten.zeros_like,
    _aten.new_ones: _aten.ones_like,
    _aten.new_full: _aten.full_like,
    _aten.new_empty: _aten.empty_like,
    _aten.zeros_like: _aten.zeros_like,
    _aten.ones_like: _aten.ones_like,
    _aten.full_like: _aten.full_like,
    _aten.empty_like: _aten.empty_like,
}
"""Operators that read the shape of a tensor and none of its numbers."""

_SAFE_RANDOM = re.compile(r"_scaled_dot_product|_efficient_attention|_flash_attention")
"""Operators that may draw random numbers, and don't outside training."""

CURE = "; run it in PyTorch"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that depends on the inputs."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator that was called.

    Args:
        target: Always one that changes none of its arguments.
        args: As PyTorch got them; a `Value` stands for a tensor that depends on the inputs.
        kwargs: The same, by name.
        outputs: A `Value` for each tensor that came out.
        has_many: Whether the operator returns a tuple or a list, and not one tensor.
        path: Module that called it, such as `layer1.0.conv1`.
    """

    target: OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Value | None, ...]
    has_many: bool
    path: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What a network did.

    Args:
        in_leaves: The flattened arguments: a `Value`, a real tensor if it is a constant, or anything else.
        calls: In order.
        outputs: The flattened results: a `Value`, a real tensor, or anything else.
        in_spec: How `(args, kwargs)` were flattened.
        out_spec: How the result was flattened.
    """

    in_leaves: tuple[Any, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Any, ...]
    in_spec: TreeSpec
    out_spec: TreeSpec

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
) -> Trace:
    """Record the operators that a network calls; nothing is computed that depends on the inputs.

    Args:
        function: A module, a graph from `torch.compile` or `torch.export`, or any function of tensors.
        args: Example arguments; of tensors in them (lists and dicts are searched) only shape and type count.
        kwargs: The same, by name.
        constants: Which of the flattened tensors are known numbers all the same, such as the weights
            that `torch.compile` hands over as arguments.

    Raises:
        ModelError: If what the network does depends on the numbers in its input, if it is in training
            mode, or if it fails.
    """
    _check_evaluates(function)
    leaves, in_spec = tree_flatten((args, dict(kwargs or {})))
    recorder = _Recorder()
    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    unknown = [p for i, p in enumerate(positions) if i not in set(constants)]
    with torch.no_grad():
        given = list(leaves)
        for position in unknown:
            leaf: Tensor = leaves[position]
            given[position] = torch.empty(leaf.shape, dtype=leaf.dtype, device="meta")
            recorder.add(given[position])
        in_leaves = tuple(map(recorder.reference, given))
        result = _run(function, tree_unflatten(given, in_spec), recorder)
        flat, out_spec = tree_flatten(result)
        outputs = tuple(recorder.reference(leaf) for leaf in flat)
    return Trace(in_leaves, tuple(recorder.calls), outputs, in_spec, out_spec)


def _check_evaluates(function: Callable[..., Any]) -> None:
    """Check that a module and the layers in it are not in training mode."""
    if not isinstance(function, nn.Module):
        return
    is_traced = isinstance(function, fx.GraphModule)  # these don't keep the mode of their model
    for name, module in function.named_modules():
        if module.training and (isinstance(module, _NORMS) or not (name or is_traced)):
            place = name or type(function).__name__
            raise ModelError(f"{place} is in training mode; call model.eval() first")


def _run(function: Callable[..., Any], given: tuple[Any, Any], recorder: "_Recorder") -> Any:
    """Call the function under the recorder's eyes, and put the place before what goes wrong."""
    args, kwargs = given
    shapes = ", ".join(str(tuple(v.shape)) for v in tree_flatten(given)[0] if isinstance(v, Tensor))
    root = function if isinstance(function, nn.Module) else None
    try:
        with recorder, _FactoriesOnCpu(), _watched(root, recorder):
            if isinstance(function, fx.GraphModule):
                return _Interpreter(function, recorder).run_with(args, kwargs)
            return function(*args, **kwargs)
    except OneByOneError:
        raise
    except Exception as error:
        place = f"{recorder.path}: " if recorder.path else ""
        raise ModelError(
            f"{place}the model cannot be followed on inputs of shape {shapes}: {first_line(error)}; "
            "check that it runs on them in PyTorch, and that it never looks at their numbers"
        ) from error


class _FactoriesOnCpu(TorchFunctionMode):
    """Make the tensors that a user makes from numbers on the CPU, where they keep them.

    `torch.tensor([1.0], device=x.device)` would lose its numbers before any operator is called.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):  # pyright: ignore[reportImplicitOverride]
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            like, *args = args
            func, kwargs = torch.tensor, {"dtype": like.dtype, **kwargs}
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and _is_meta(kwargs.get("device")):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@dataclass(slots=True)
class _Known:
    """A tensor without numbers, what it stands for, and since which write to its storage."""

    tensor: Tensor
    value: Value
    version: int


class _Recorder(TorchDispatchMode):
    """Record operators that meet a tensor without numbers, and run all others.

    Tensors that share their numbers are seen by their storage. A write gives the written tensor a new
    `Value`; other tensors on that storage are out of date, and may only be read where the new value of
    theirs is plain: the same elements, or all of them in another shape.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first operator would import TorchDynamo, which takes more than a second.
        return False

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.modules: list[tuple[nn.Module, str]] = []
        self.node_path: str = ""
        self._known: dict[int, _Known] = {}
        self._by_storage: dict[int, list[_Known]] = {}
        self._versions: dict[int, int] = {}
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: dict[int, Tensor] = {}  # by storage: real tensors made in this trace
        self._kept: set[int] = set()  # storages whose numbers a recorded call refers to

    @property
    def path(self) -> str:
        """The module that is running."""
        return self.node_path or (self.modules[-1][1] if self.modules else "")

    def fail(self, reason: str, cure: str = CURE) -> NoReturn:
        """Raise the error that says where the network does what cannot be followed."""
        place = f"{self.path}: " if self.path else ""
        raise ModelError(f"{place}{reason}{cure}")

    def add(self, tensor: Tensor) -> Value:
        """Give a tensor without numbers a value of its own."""
        value = Value(tuple(tensor.shape), tensor.dtype)
        storage = _storage(tensor)
        known = _Known(tensor, value, self._versions.setdefault(storage, 0))
        self._known[id(tensor)] = known
        self._by_storage.setdefault(storage, []).append(known)
        return value

    def reference(self, leaf: Any) -> Any:
        """Return what stands for a leaf in a record: its value, its numbers, or itself."""
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.is_meta:
            return self._value_of(leaf)
        self._kept.add(_storage(leaf))
        return leaf.detach()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # pyright: ignore[reportImplicitOverride]
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        packet = func.overloadpacket
        if packet in _KNOWN_FROM_SHAPE and tensors[0].is_meta:
            return self._make(func, args, kwargs)
        if any(tensor.is_meta for tensor in tensors):
            return self._record(func, args, kwargs)
        return self._run(func, args, kwargs)

    def _make(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Make a real tensor of numbers that depend on nothing but a shape."""
        like: Tensor = args[0]
        stand_in = torch.empty((), dtype=like.dtype)
        if func.overloadpacket is _KNOWN_FROM_SHAPE[func.overloadpacket]:
            stand_in = stand_in.expand(like.shape)
            kwargs = {k: v for k, v in kwargs.items() if k != "memory_format"}
        return self._run(func, (stand_in, *args[1:]), kwargs)

    def _run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that does not depend on the inputs."""
        self._check_not_random(func)
        for tensor in _written(func, args, kwargs):
            storage = _storage(tensor)
            if storage not in self._made or storage in self._kept:
                self.fail(f"{func} changes a parameter, a buffer or a constant of the model")
        result = func(*args, **_with_device(kwargs, "cpu"))
        sources = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(result):
            storage = _storage(tensor)
            if storage not in sources or func.overloadpacket is _aten.lift_fresh:
                self._made[storage] = tensor
        return result

    def _record(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an operator that depends on the inputs, and run it on shapes."""
        self._check_followable(func, args, kwargs)
        written = _written(func, args, kwargs)
        # References come first: they are of the values before a write.
        refs = _replaced((args, kwargs), self.reference)
        result = func(*_replaced(args, self._twin), **_with_device(_replaced(kwargs, self._twin), "meta"))
        if written:
            self._rebind(func, refs, written)
            return result
        many = isinstance(result, (tuple, list))
        flat = list(result) if many else [result]
        outputs = tuple(self.add(leaf) if isinstance(leaf, Tensor) else None for leaf in flat)
        self._append(func, refs, outputs, has_many=many)
        return result

    def _append(
        self, func: OpOverload, refs: tuple[Any, Any], outputs: tuple[Value | None, ...], *, has_many: bool
    ) -> None:
        args, kwargs = refs
        kwargs = _with_device(kwargs, "cpu")
        self.calls.append(Call(func, args, kwargs, outputs, has_many, self.path))

    def _rebind(self, func: OpOverload, refs: tuple[Any, Any], written: list[Tensor]) -> None:
        """Record a write as an operator that returns the new value of the tensor."""
        functional = _functional(func)
        if functional is None or len(written) != 1:
            self.fail(f"{func} writes into a tensor in a way that cannot be followed")
        tensor = written[0]
        self._versions[_storage(tensor)] += 1
        self._append(functional, refs, (self.add(tensor),), has_many=False)

    def _twin(self, leaf: Any) -> Any:
        """Return a tensor without numbers in place of a real one."""
        if not isinstance(leaf, Tensor) or leaf.is_meta:
            return leaf
        if id(leaf) not in self._twins:
            twin = torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")
            self._twins[id(leaf)] = leaf, twin
        return self._twins[id(leaf)][1]

    def _value_of(self, tensor: Tensor) -> Value:
        """Return the value that a tensor stands for now."""
        known = self._known.get(id(tensor))
        storage = _storage(tensor)
        if known is not None and known.version == self._versions[storage]:
            return known.value
        candidates = self._by_storage.get(storage, [])
        for other in reversed(candidates):
            if other.version != self._versions[storage]:
                continue
            if _geometry(other.tensor) == _geometry(tensor):
                return other.value
            if _is_all_of(other.tensor, tensor):
                shape = list(tensor.shape)
                value = self.add(tensor)
                self._append(_aten.view.default, ((other.value, shape), {}), (value,), has_many=False)
                return value
        if candidates:
            self.fail(
                "the model reads a tensor of which a part was changed in place through another view "
                f"(its shape is {tuple(tensor.shape)})",
                "; write it without the change in place, or run it in PyTorch",
            )
        self.fail("the model holds a tensor on the meta device, which has no numbers", "; load its weights")

    def _check_followable(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check that an operator on unknown numbers has a result of known shape."""
        packet = func.overloadpacket
        if packet is _aten.native_batch_norm and args[5] and args[3] is not None:
            self.fail("a batch norm is in training mode", "; call model.eval() first")
        if packet in (_aten.as_strided, _aten.set_, _aten.resize_):
            self.fail(f"{func} depends on where numbers lie in memory")
        tags = func.tags
        looks = torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags
        if looks or packet in _LOOKS_AT_NUMBERS:
            self.fail(
                f"what the model does depends on numbers that depend on its input ({func}), "
                "as `if x.sum() > 0` or `x.item()` would"
            )
        self._check_not_random(func)
        for tensor in _written(func, args, kwargs):
            if not tensor.is_meta:
                if "batch_norm" in str(func):
                    self.fail("a batch norm is in training mode", "; call model.eval() first")
                self.fail(
                    f"{func} writes numbers that depend on the input into a tensor made beforehand",
                    "; use torch.cat or torch.where, or run it in PyTorch",
                )

    def _check_not_random(self, func: OpOverload) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags and not _SAFE_RANDOM.search(str(func)):
            self.fail(f"the model draws random numbers ({func})", "; call model.eval() first, " + CURE[2:])


class _Interpreter(fx.Interpreter):
    """Run a traced graph, and say of each node which module it came from."""

    def __init__(self, module: fx.GraphModule, recorder: _Recorder) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._recorder = recorder

    def run_with(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run on arguments by position and by name."""
        if kwargs:
            import inspect

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


@contextmanager
def _watched(root: nn.Module | None, recorder: _Recorder) -> Generator[None]:
    """Tell the recorder which module is running, while in this context.

    An error leaves the modules in which it happened standing: it is them that it names.
    """
    names = {id(module): name for name, module in root.named_modules()} if root is not None else {}

    def enter(module: nn.Module, _args: object) -> None:
        if id(module) in names:
            recorder.modules.append((module, names[id(module)]))

    def leave(module: nn.Module, _args: object, _result: object) -> None:
        if id(module) in names:
            # Modules above it that raised an error, which someone caught, go with it.
            while recorder.modules and recorder.modules.pop()[0] is not module:
                pass

    hooks = [
        nn.modules.module.register_module_forward_pre_hook(enter),
        nn.modules.module.register_module_forward_hook(leave),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype


def _is_all_of(written: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same elements in the same order, perhaps in another shape."""
    return (
        written.is_contiguous()
        and tensor.is_contiguous()
        and written.numel() == tensor.numel()
        and written.storage_offset() == tensor.storage_offset()
        and written.dtype == tensor.dtype
    )


def _is_meta(device: Any) -> bool:
    return device is not None and torch.device(device).type == "meta"


def _with_device(kwargs: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Run on a device what would run on another; where nothing is said of devices, nothing is added."""
    if kwargs.get("device") is None:
        return dict(kwargs)
    return {**kwargs, "device": torch.device(device)}


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Go through the tensors in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _replaced(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Rebuild nested tuples, lists and dicts with every leaf changed."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(_replaced(item, change) for item in tree)
    if isinstance(tree, dict):
        return {key: _replaced(item, change) for key, item in tree.items()}
    return change(tree)


@lru_cache(maxsize=None)
def _write_positions(func: OpOverload) -> tuple[tuple[int, str], ...]:
    """Return position and name of the arguments that an operator writes into."""
    arguments = enumerate(func._schema.arguments)
    return tuple((i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write)


def _written(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that an operator writes into."""
    positions = _write_positions(func)
    return [t for i, name in positions for t in _tensors(args[i] if i < len(args) else kwargs.get(name))]


@lru_cache(maxsize=None)
def _functional(func: OpOverload) -> OpOverload | None:
    """Return the operator that returns what another writes into its first argument: relu for relu_."""
    namespace, _, name = func._schema.name.partition("::")
    if not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(getattr(torch.ops, namespace), name[:-1], None)
    return getattr(packet, func._overloadname, None)
