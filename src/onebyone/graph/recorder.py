"""Writing down each operator that is called on a tensor that depends on the inputs.

Such tensors have no numbers: they are on the meta device, and known by their storage. Operators
that meet only others, such as weights, are simply run, so that whatever does not depend on the
inputs arrives as a constant. The weights themselves may be on the meta device too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from onebyone.errors import ModelError
from onebyone.graph.calls import Call, Value
from onebyone.graph.shapes import quick_result

_aten = torch.ops.aten

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

_MEMORY = {_aten.as_strided, _aten.as_strided_, _aten.set_, _aten.resize_}
"""Operators that say where numbers lie in memory."""

_SAFE_RANDOM = re.compile(r"_scaled_dot_product|_efficient_attention|_flash_attention")
"""Operators that may draw random numbers, and don't outside training."""

CURE = "; run it in PyTorch"


@dataclass(slots=True)
class _Known:
    """A tensor without numbers, what it stands for, and since which write to its storage."""

    tensor: Tensor
    value: Value
    version: int


class Recorder(TorchDispatchMode):
    """Record operators that meet a tensor without numbers, and run all others.

    Which tensors share their numbers is seen by their storage. A write gives the written tensor a
    new `Value`; other tensors on that storage are out of date, and may only be read where their new
    value is plain: the same elements, or all of them in another shape.
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

    def error(self, reason: str, cure: str = CURE) -> ModelError:
        """Return the error that says where the network does what cannot be followed."""
        place = f"{self.path}: " if self.path else ""
        return ModelError(f"{place}{reason}{cure}")

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
        if self._depends_on_input(leaf):
            return self._value_of(leaf)
        self._kept.add(_storage(leaf))
        return leaf.detach()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        packet = func.overloadpacket
        if packet in _KNOWN_FROM_SHAPE and tensors[0].is_meta:
            return self._make(func, args, kwargs)
        if any(map(self._depends_on_input, tensors)):
            return self._record(func, args, kwargs)
        return self._run(func, args, kwargs)

    def _depends_on_input(self, tensor: Tensor) -> bool:
        return tensor.is_meta and _storage(tensor) in self._by_storage

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
                raise self.error(f"{func} changes a parameter, a buffer or a constant of the model")
        if any(tensor.is_meta for tensor in _tensors((args, kwargs))):
            result = self._run_on_shapes(func, args, kwargs)
        else:
            result = func(*args, **_with_device(kwargs, "cpu"))
        sources = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(result):
            storage = _storage(tensor)
            if storage not in sources or func.overloadpacket is _aten.lift_fresh:
                self._made[storage] = tensor
        return result

    def _run_on_shapes(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an operator on weights without numbers."""
        if _looks_at_numbers(func, args):
            raise self.error(
                "what the model does depends on the numbers of a tensor on the meta device, "
                "which has none",
                "; load the model's weights",
            )
        return self._result(func, _replaced(args, self._twin), _replaced(kwargs, self._twin))

    def _record(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an operator that depends on the inputs, and run it on shapes."""
        self._check_followable(func, args, kwargs)
        written = _written(func, args, kwargs)
        # References come first: they are of the values before a write.
        refs = _replaced((args, kwargs), self.reference)
        result = self._result(func, _replaced(args, self._twin), _replaced(kwargs, self._twin))
        if written:
            self._rebind(func, refs, written)
            return result
        many = isinstance(result, (tuple, list))
        flat = list(result) if many else [result]
        outputs = tuple(self.add(leaf) if isinstance(leaf, Tensor) else None for leaf in flat)
        self._append(func, refs, outputs, has_many=many)
        return result

    def _result(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on shapes."""
        quick = quick_result(func, args, kwargs)
        return func(*args, **_with_device(kwargs, "meta")) if quick is None else quick

    def _append(
        self,
        func: OpOverload,
        refs: tuple[Any, Any],
        outputs: tuple[Value | None, ...],
        *,
        has_many: bool,
    ) -> None:
        args, kwargs = refs
        kwargs = _with_device(kwargs, "cpu")
        self.calls.append(Call(func, args, kwargs, outputs, has_many, self.path))

    def _rebind(self, func: OpOverload, refs: tuple[Any, Any], written: list[Tensor]) -> None:
        """Record a write as an operator that returns the new value of the tensor."""
        functional = _functional(func)
        if functional is None or len(written) != 1:
            raise self.error(f"{func} writes into a tensor in a way that cannot be followed")
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
        for other in reversed(self._by_storage[storage]):
            if other.version != self._versions[storage]:
                continue
            if _geometry(other.tensor) == _geometry(tensor):
                return other.value
            if _is_all_of(other.tensor, tensor):
                shape = list(tensor.shape)
                value = self.add(tensor)
                self._append(
                    _aten.view.default, ((other.value, shape), {}), (value,), has_many=False
                )
                return value
        raise self.error(
            f"the model reads a tensor {tuple(tensor.shape)} that was changed in place, "
            "in part, through another view of it",
            "; write it without the change in place, or run it in PyTorch",
        )

    def _check_followable(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Check that an operator on unknown numbers has a result of known shape."""
        packet = func.overloadpacket
        if packet is _aten.native_batch_norm and args[5] and args[3] is not None:
            raise self.error("a batch norm is in training mode", "; call model.eval() first")
        if packet in _MEMORY and not _keeps_elements(func, args):
            raise self.error(f"{func} depends on where numbers lie in memory")
        if _looks_at_numbers(func, args):
            raise self.error(
                f"what the model does depends on numbers that depend on its input ({func}), "
                "as `if x.sum() > 0` or `x.item()` would"
            )
        self._check_not_random(func)
        for tensor in _written(func, args, kwargs):
            if not self._depends_on_input(tensor):
                if "batch_norm" in str(func):
                    raise self.error(
                        "a batch norm is in training mode", "; call model.eval() first"
                    )
                raise self.error(
                    f"{func} writes numbers that depend on the input into a tensor made beforehand",
                    "; use torch.cat or torch.where, or run it in PyTorch",
                )

    def _check_not_random(self, func: OpOverload) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags and not _SAFE_RANDOM.search(str(func)):
            raise self.error(
                f"the model draws random numbers ({func})", "; call model.eval() first, " + CURE[2:]
            )


def _looks_at_numbers(func: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether what comes out of an operator, or its shape, cannot be known without the numbers."""
    if func.overloadpacket is _aten.index:  # indices give a known shape, a mask does not
        return any(index.dtype in (torch.bool, torch.uint8) for index in _tensors(args[1]))
    unknown = torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape
    return func.overloadpacket in _LOOKS_AT_NUMBERS or any(tag in func.tags for tag in unknown)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


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


def _keeps_elements(func: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether an operator on memory leaves each element where it was, as in PyTorch's pooling."""
    if func.overloadpacket not in (_aten.as_strided, _aten.as_strided_) or len(args) != 3:
        return False
    tensor, shape, strides = args
    old = [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
    new = [stride for size, stride in zip(shape, strides, strict=True) if size > 1]
    return list(tensor.shape) == list(shape) and old == new


def _with_device(kwargs: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Run on a device what would run on another; nothing is added where none is named."""
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


@cache
def _write_positions(func: OpOverload) -> tuple[tuple[int, str], ...]:
    """Return position and name of the arguments that an operator writes into."""
    arguments = enumerate(func._schema.arguments)  # pyright: ignore[reportPrivateUsage]
    return tuple(
        (i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write
    )


def _written(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that an operator writes into."""
    positions = _write_positions(func)
    return [
        t for i, name in positions for t in _tensors(args[i] if i < len(args) else kwargs.get(name))
    ]


@cache
def _functional(func: OpOverload) -> OpOverload | None:
    """Return the operator that returns what another writes: relu for relu_."""
    schema = func._schema  # pyright: ignore[reportPrivateUsage]
    namespace, _, name = schema.name.partition("::")
    if not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(getattr(torch.ops, namespace), name[:-1], None)
    overloads = [] if packet is None else [getattr(packet, one) for one in packet.overloads()]
    return next((one for one in overloads if _takes(one) == _takes(func)), None)


def _takes(func: OpOverload) -> list[tuple[str, str]]:
    """Return names and types of an operator's arguments."""
    schema = func._schema  # pyright: ignore[reportPrivateUsage]
    return [(argument.name, str(argument.type)) for argument in schema.arguments]
