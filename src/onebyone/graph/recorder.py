"""Writing down each operator that is called on a tensor that depends on the inputs.

Such tensors have no numbers: they are on the meta device, and known by their storage. Operators
that meet only others, such as weights, are simply run, so that whatever does not depend on the
inputs arrives as a constant. The weights themselves may be on the meta device too.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from onebyone.errors import ModelError
from onebyone.graph.calls import Call, Value
from onebyone.graph.memory import Geometry, Known, Memory
from onebyone.graph.places import Places
from onebyone.graph.shapes import quick_result
from onebyone.graph.writes import functional, only_reshapes, tensors_in, written_tensors

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

_UNSET = {
    *(_aten.empty, _aten.empty_like, _aten.empty_strided, _aten.empty_permuted),
    *(_aten.new_empty, _aten.new_empty_strided),
}
"""Operators that leave in a new tensor what lay there before."""

_TYPED_AS_WRITTEN = {
    *(_aten.copy, _aten.fill, _aten.zero, _aten.masked_fill, _aten.index_put, _aten.index_fill),
    *(_aten.index_copy, _aten.index_add, _aten.scatter, _aten.scatter_add, _aten.masked_scatter),
}
"""Operators whose result has the type of their first argument, as when they write into it."""

_SAFE_RANDOM = re.compile(r"_scaled_dot_product|_efficient_attention|_flash_attention")
"""Operators that may draw random numbers, and don't outside training."""

CURE = "; run it in PyTorch"


class Recorder(TorchDispatchMode):
    """Record operators that meet a tensor without numbers, and run all others.

    Values never change. A write gives the written tensor a new one, and, where the tensor is a part
    of others, a new one to its whole memory, from which the others are read when they are wanted.

    Args:
        network: What is run; a module's parts give the calls their paths.
    """

    looked: tuple[Value, ...] = ()
    """Values whose numbers decided what the network did; none here, since that is refused."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first operator would import TorchDynamo, which takes more than a second.
        return False

    def __init__(self, network: object = None) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.places = Places(network)
        self.node_path: str = ""
        self._memories: dict[int, Memory] = {}  # by storage
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: dict[int, Tensor] = {}  # by storage: real tensors made in this trace
        self._kept: set[int] = set()  # storages whose numbers a recorded call refers to
        self._promoted: dict[int, Tensor] = {}  # by storage: what took the place of real numbers

    def error(self, reason: str, cure: str = CURE) -> ModelError:
        """Return the error that says where the network does what cannot be followed."""
        path = self.node_path or self.places.running()
        return ModelError(f"{path}: {reason}{cure}" if path else f"{reason}{cure}")

    def add(self, tensor: Tensor) -> Value:
        """Give a tensor without numbers a value of its own."""
        geometry = Geometry.of(tensor)
        value = Value(geometry.shape, geometry.dtype, tensor.is_contiguous())
        storage = _storage(tensor)
        if storage not in self._memories:
            self._memories[storage] = Memory(tensor)
        self._memories[storage].note(geometry, value)
        return value

    def add_input(self, tensor: Tensor, example: Tensor) -> Value:  # noqa: ARG002
        """Give the tensor that stands for an input its value; an example of it may have numbers."""
        return self.add(tensor)

    def value_after(self, value: Value, tensor: Tensor) -> Value:
        """Return what a tensor without numbers stands for that stood for `value` before."""
        return value if self._memories[_storage(tensor)].holds(value) else self.reference(tensor)

    def reference(self, leaf: Any) -> Any:
        """Return what stands for a leaf in a record: its value, its numbers, or itself."""
        if not isinstance(leaf, Tensor):
            return leaf
        if self.is_unknown(leaf):
            return self._known(self._stand_in(leaf))
        self._kept.add(_storage(leaf))
        return leaf.detach()

    def is_unknown(self, tensor: Tensor) -> bool:
        """Whether the numbers of a tensor depend, or may depend, on the inputs."""
        if tensor.is_meta and _storage(tensor) in self._memories:
            return True
        return self._is_promoted(tensor)

    def _is_promoted(self, tensor: Tensor) -> bool:
        return bool(self._promoted) and _storage(tensor) in self._promoted

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._dispatch(func, args, kwargs or {})

    def _dispatch(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = list(tensors_in((args, kwargs)))
        is_meta = any(tensor.is_meta for tensor in tensors)
        if func.overloadpacket in _KNOWN_FROM_SHAPE and (is_meta or self.is_unknown(tensors[0])):
            return self._make(func, args, kwargs)
        if only_reshapes(func) and self._is_promoted(args[0]):
            return func(*args, **kwargs)  # its numbers are found by where they lie
        self._promote_written(func, args, kwargs)
        if any(map(self.is_unknown, tensors)):
            if self._promoted:
                args, kwargs = replaced((args, kwargs), self._stand_in)
            return self._record(func, args, kwargs)
        return self._run(func, args, kwargs)

    def _make(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Make a real tensor of numbers that depend on nothing but a shape."""
        like: Tensor = args[0]
        stand_in = torch.empty((), dtype=like.dtype, device="cpu")
        if func.overloadpacket is _KNOWN_FROM_SHAPE[func.overloadpacket]:
            stand_in = stand_in.expand(like.shape)
            kwargs = {k: v for k, v in kwargs.items() if k != "memory_format"}
        return self._run(func, (stand_in, *args[1:]), kwargs)

    def _run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that does not depend on the inputs."""
        self._check_not_random(func)
        if any(tensor.is_meta for tensor in tensors_in((args, kwargs))):
            result = self._run_on_shapes(func, args, kwargs)
        else:
            result = func(*args, **_with_device(kwargs, "cpu"))
        sources = {_storage(tensor) for tensor in tensors_in((args, kwargs))}
        for tensor in tensors_in(result):
            storage = _storage(tensor)
            if storage not in sources or func.overloadpacket is _aten.lift_fresh:
                self._made[storage] = tensor
        if func.overloadpacket in _UNSET:
            result.zero_()  # the graph should not depend on what lay there before
        return result

    def _run_on_shapes(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an operator on weights without numbers."""
        if looks_at_numbers(func, args):
            raise self.error(
                "what the model does depends on the numbers of a tensor on the meta device, "
                "which has none",
                "; load the model's weights",
            )
        return self._result(func, replaced(args, self._twin), replaced(kwargs, self._twin))

    def _record(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an operator that depends on the inputs, and run it on shapes."""
        self._check_followable(func, args)
        written = written_tensors(func, args, kwargs)
        # References come first: they are of the values before a write.
        refs = replaced((args, kwargs), self.reference)
        twins = replaced((args, kwargs), self._twin)
        result = self._outcome(func, refs, twins)
        if written:
            self._rebind(func, refs, twins, written)
            return result
        many = isinstance(result, (tuple, list))
        flat = list(result) if many else [result]
        outputs = tuple(self.add(leaf) if isinstance(leaf, Tensor) else None for leaf in flat)
        self._append(func, refs, outputs, has_many=many)
        return result

    def _outcome(self, func: OpOverload, refs: tuple[Any, Any], twins: tuple[Any, Any]) -> Any:  # noqa: ARG002
        """Return what comes out of an operator, known by references or by shapes."""
        return self._result(func, *twins)

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
        path = self.node_path or self.places.running()
        self.calls.append(Call(func, args, kwargs, outputs, has_many, path))

    def _apply(self, func: OpOverload, args: tuple[Any, ...], geometry: Geometry) -> Known:
        """Return what an operator gives, a tensor of that geometry; record it if need be."""
        if not any(isinstance(leaf, Value) for leaf in args):
            return func(*args)
        value = _value(geometry)
        self._append(func, (args, {}), (value,), has_many=False)
        return value

    # Writing

    def _rebind(
        self, func: OpOverload, refs: tuple[Any, Any], twins: tuple[Any, Any], written: list[Tensor]
    ) -> None:
        """Record a write as an operator that returns the new value of the tensor."""
        target = functional(func)
        if target is None or len(written) != 1:
            raise self.error(f"{func} writes into a tensor in a way that cannot be followed")
        (tensor,) = written
        if only_reshapes(func):
            self._append(target, refs, (self.add(tensor),), has_many=False)
            return
        geometry = Geometry.of(tensor)
        memory = self._memories[_storage(tensor)]
        if not geometry.numel:
            return
        # What the whole memory holds is asked before a part of it changes. Written as another type,
        # it is lost: nobody may read it.
        is_part = geometry.dtype == memory.flat.dtype and not memory.is_whole(geometry)
        whole = self._flat(memory) if is_part else None
        value = self._written_value(target, refs, twins, geometry)
        memory.forget(geometry)
        memory.note(geometry, value)
        if whole is not None:
            memory.note(memory.flat, self._scattered(memory.flat, whole, geometry, value))

    def _written_value(
        self, target: OpOverload, refs: tuple[Any, Any], twins: tuple[Any, Any], geometry: Geometry
    ) -> Known:
        """Record an operator; what it gives is converted to the type of the written tensor."""
        dtype = geometry.dtype
        if target.overloadpacket not in _TYPED_AS_WRITTEN:
            dtype = self._result(target, *twins).dtype
        value = _value(replace(geometry, dtype=dtype))
        self._append(target, refs, (value,), has_many=False)
        if dtype == geometry.dtype:
            return value
        cast = _value(geometry)
        kwargs = {"dtype": geometry.dtype}
        self._append(_aten._to_copy.default, ((value,), kwargs), (cast,), has_many=False)
        return cast

    def _scattered(self, flat: Geometry, whole: Known, part: Geometry, value: Known) -> Known:
        """Return the numbers of a memory with those of a part of it replaced."""
        start, stop = part.span.start, part.span.stop
        line = Geometry((stop - start,), (1,), 0, part.dtype)
        if part.is_contiguous:
            inner = self._apply(_aten.view.default, (value, [part.numel]), line)
        else:
            old = self._apply(_aten.slice.Tensor, (whole, 0, start, stop), line)
            # Without an offset, the strides count from where the slice begins.
            strided = (old, value, list(part.shape), list(part.strides))
            inner = self._apply(_aten.as_strided_scatter.default, strided, line)
        return self._apply(_aten.slice_scatter.default, (whole, inner, 0, start, stop), flat)

    def _promote_written(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Let real tensors that an operator writes into take numbers that are not known.

        They must have been made by the network. If what is written is known, that is only needed
        where a recorded call refers to their numbers.
        """
        written = [t for t in written_tensors(func, args, kwargs) if not self.is_unknown(t)]
        if not written:
            return
        depends = any(map(self.is_unknown, tensors_in((args, kwargs))))
        for tensor in written:
            storage = _storage(tensor)
            if storage not in self._made:
                raise self._refused_write(func, depends=depends)
            if (depends or storage in self._kept) and not only_reshapes(func):
                flat = Memory(tensor).flat
                twin = torch.empty(flat.shape, dtype=flat.dtype, device="meta")
                self._promoted[storage] = twin
                self._memories[_storage(twin)] = memory = Memory(twin)
                memory.note(flat, flat.shown_by(tensor.detach()))

    def _refused_write(self, func: OpOverload, *, depends: bool) -> ModelError:
        if not depends:
            return self.error(f"{func} changes a parameter, a buffer or a constant of the model")
        if "batch_norm" in str(func):
            return self.error("a batch norm is in training mode", "; call model.eval() first")
        return self.error(
            f"{func} writes numbers that depend on the input into a tensor made beforehand",
            "; use torch.cat or torch.where, or run it in PyTorch",
        )

    # Reading

    def _stand_in(self, leaf: Any) -> Any:
        """Return a tensor without numbers in place of a real one that holds unknown ones."""
        if not isinstance(leaf, Tensor) or not self._is_promoted(leaf):
            return leaf
        twin = self._promoted[_storage(leaf)]
        if twin.dtype != leaf.dtype:
            raise self.error(f"a tensor of {twin.dtype} that was changed is read as {leaf.dtype}")
        return Geometry.of(leaf).shown_by(twin)

    def _twin(self, leaf: Any) -> Any:
        """Return a tensor without numbers in place of a real one."""
        if not isinstance(leaf, Tensor) or leaf.is_meta:
            return leaf
        known = self._twins.get(id(leaf))
        if known is None or (known[1].shape, known[1].stride()) != (leaf.shape, leaf.stride()):
            twin = torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")
            self._twins[id(leaf)] = known = leaf, twin
        return known[1]

    def _known(self, tensor: Tensor) -> Known:
        """Return what a tensor stands for now."""
        memory = self._memories[_storage(tensor)]
        geometry = Geometry.of(tensor)
        known = memory.find(geometry)
        if known is None:
            known = self._derived(memory, geometry)
            memory.note(geometry, known)
        return known

    def _derived(self, memory: Memory, geometry: Geometry) -> Known:
        """Read a tensor from another that shows the same numbers, or from the whole memory."""
        for other, known in memory:
            if other.has_elements_of(geometry):
                return self._apply(_aten.view.default, (known, list(geometry.shape)), geometry)
        flat = self._flat(memory)
        if geometry.dtype != memory.flat.dtype:
            raise self._lost()
        start, stop = geometry.span.start, geometry.span.stop
        line = Geometry((stop - start,), (1,), 0, geometry.dtype)
        part = self._apply(_aten.slice.Tensor, (flat, 0, start, stop), line)
        if geometry.is_contiguous:
            return self._apply(_aten.view.default, (part, list(geometry.shape)), geometry)
        strided = (part, list(geometry.shape), list(geometry.strides))
        return self._apply(_aten.as_strided.default, strided, geometry)

    def _flat(self, memory: Memory) -> Known:
        """Return all numbers of a memory in one line, in the order of their places."""
        known = memory.find(memory.flat)
        if known is not None:
            return known
        found = memory.find_whole()
        if found is None:
            raise self._lost()
        whole, known = found
        order = whole.order
        shape = tuple(whole.shape[dim] for dim in order)
        strides = tuple(whole.strides[dim] for dim in order)
        ordered = replace(whole, shape=shape, strides=strides)
        if order != tuple(range(len(order))):
            known = self._apply(_aten.permute.default, (known, list(order)), ordered)
        known = self._apply(_aten.view.default, (known, list(memory.flat.shape)), memory.flat)
        memory.note(memory.flat, known)
        return known

    def _lost(self) -> ModelError:
        return self.error(
            "the model reads a tensor that was changed in place through a view of another type",
            "; write it without the change in place, or run it in PyTorch",
        )

    # Refusing

    def _check_followable(self, func: OpOverload, args: tuple[Any, ...]) -> None:
        """Check that an operator on unknown numbers has a result of known shape."""
        packet = func.overloadpacket
        if packet is _aten.native_batch_norm and args[5] and args[3] is not None:
            raise self.error("a batch norm is in training mode", "; call model.eval() first")
        if packet in _MEMORY and not _keeps_elements(func, args):
            raise self.error(f"{func} depends on where numbers lie in memory")
        if looks_at_numbers(func, args):
            self._look(func)
        self._check_not_random(func)

    def _look(self, func: OpOverload) -> None:
        """Refuse an operator that looks at numbers which are not known."""
        raise self.error(
            f"what the model does depends on numbers that depend on its input ({func}), "
            "as `if x.sum() > 0` or `x.item()` would"
        )

    def check_unlooked(self, tensor: Tensor) -> None:
        """Check that a tensor whose numbers are looked at, outside any operator, holds known ones.

        PyTorch checks that of those without numbers itself.
        """
        if not tensor.is_meta and self.is_unknown(tensor):
            raise self.error("what the model does depends on numbers that depend on its input")

    def _check_not_random(self, func: OpOverload) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags and not _SAFE_RANDOM.search(str(func)):
            raise self.error(
                f"the model draws random numbers ({func})", "; call model.eval() first, " + CURE[2:]
            )


def looks_at_numbers(func: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether what comes out of an operator, or its shape, cannot be known without the numbers."""
    if func.overloadpacket is _aten.index:  # indices give a known shape, a mask does not
        return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1]))
    unknown = torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape
    return func.overloadpacket in _LOOKS_AT_NUMBERS or any(tag in func.tags for tag in unknown)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _value(geometry: Geometry) -> Value:
    return Value(geometry.shape, geometry.dtype, geometry.is_contiguous)


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


def replaced(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """Rebuild nested tuples, lists and dicts with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)([replaced(item, change) for item in tree])
    if isinstance(tree, dict):
        return {key: replaced(item, change) for key, item in tree.items()}
    return tree
