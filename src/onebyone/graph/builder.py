"""Building a graph node by node, where views are layouts and not nodes."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from onebyone.graph.calls import Call, Value
from onebyone.graph.graph import (
    Constant,
    Graph,
    Input,
    Node,
    Opaque,
    Ref,
    Reshape,
    Shape,
    Shuffle,
    View,
)
from onebyone.graph.layout import (
    REPEATED,
    Atom,
    Layout,
    has_repeats,
    in_order,
    permuted,
    plain,
    shape_of,
    size_of,
    whole,
)

_aten = torch.ops.aten
_Kind = TypeVar("_Kind", bound=Node)

Dims = tuple[int | None, int | None, int | None, int | None]
"""Which dimensions of a tensor are N, C, H and W; None for one that it lacks."""

NCHW: Dims = (0, 1, 2, 3)
NHWC: Dims = (0, 3, 1, 2)
NC: Dims = (0, 1, None, None)


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor of the network: a node, and how the tensor shows its numbers."""

    node: str
    layout: Layout

    @property
    def shape(self) -> Shape:
        """The tensor's shape."""
        return shape_of(self.layout)


class GraphBuilder:
    """Collect nodes, name them, and insert views where a node can't read a tensor as it lies.

    Args:
        paths: Modules of all calls. They decide how nodes are named: by a module that calls no
            other, or by a module and a word.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.path: str = ""
        self._nodes: dict[str, Node] = {}
        self._dtypes: dict[str, torch.dtype] = {}
        self._numbers: dict[str, int] = {}
        self._laid_out: dict[Seen, str] = {}
        self._parents: set[str] = {""}
        for path in set(paths):
            while path:
                path = path.rpartition(".")[0]
                self._parents.add(path)

    # Adding nodes

    def add(self, node: _Kind, *, word: str = "", dtype: torch.dtype = torch.float32) -> _Kind:
        """Add a node under a name of its own, at the present path; its `name` is ignored."""
        node = replace(node, name=self._name(word or node.kind), path=self.path)
        self._nodes[node.name] = node
        self._dtypes[node.name] = dtype
        return node

    def input(self, index: int, value: Value) -> Seen:
        """Add an input."""
        node = self.add(Input(name="", shape=value.shape, index=index), dtype=value.dtype)
        return Seen(node.name, plain(value.shape))

    def constant(self, value: Tensor) -> str:
        """Add a constant `(N, C, H, W)`."""
        return self.add(Constant(name="", shape=tuple(value.shape), value=value.float())).name

    def opaque(
        self,
        target: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any] | None = None,
        *,
        shape: Shape,
        dtype: torch.dtype = torch.float32,
    ) -> str:
        """Add a call of PyTorch; in the arguments, a `Ref` stands for a tensor."""
        keywords = dict(keywords or {})
        inputs = tuple(dict.fromkeys(ref.name for ref in _refs((arguments, keywords))))
        node = Opaque(
            name="",
            inputs=inputs,
            shape=shape,
            target=target,
            arguments=arguments,
            keywords=keywords,
        )
        return self.add(node, word=_word(target), dtype=dtype).name

    def call(self, call: Call, seen: Mapping[Value, Seen]) -> list[Seen | None]:
        """Add a call that has no kind of its own, and return what comes out of it."""
        target = _aten.reshape.default if call.target in _VIEWS else call.target

        def shown(leaf: Any) -> Any:
            if isinstance(leaf, Value):
                return self.read(leaf, seen)
            if isinstance(leaf, (tuple, list)):
                return type(leaf)(map(shown, leaf))
            return leaf

        arguments: tuple[Any, ...] = shown(tuple(call.args))
        keywords = {key: shown(value) for key, value in call.kwargs.items()}
        if not call.has_many:
            (value,) = call.outputs
            if value is None:
                return [None]
            name = self.opaque(target, arguments, keywords, shape=value.shape, dtype=value.dtype)
            return [Seen(name, plain(value.shape))]
        every = self.opaque(target, arguments, keywords, shape=())
        results: list[Seen | None] = []
        for index, value in enumerate(call.outputs):
            if value is None:
                results.append(None)
                continue
            name = self.opaque(
                operator.getitem, (Ref(every), index), shape=value.shape, dtype=value.dtype
            )
            results.append(Seen(name, plain(value.shape)))
        return results

    def _name(self, word: str) -> str:
        base = (
            self.path
            if self.path not in self._parents
            else ".".join(filter(None, (self.path, word)))
        )
        name = base
        while name in self._nodes:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}_{self._numbers[base]}"
        return name

    # Reading tensors

    def shape(self, name: str) -> Shape:
        """Return the shape of a node's value."""
        return self._nodes[name].shape

    def is_native(self, name: str) -> bool:
        """Whether nodes other than `Opaque` can read a node."""
        return len(self._nodes[name].shape) == 4 and self._dtypes[name] == torch.float32

    def is_direct(self, seen: Seen, dims: Dims) -> bool:
        """Whether a tensor with these dimensions as N, C, H and W is just the value of its node."""
        return self.is_native(seen.node) and _arranged(seen, dims) == plain(self.shape(seen.node))

    def can_view(self, seen: Seen) -> bool:
        """Whether `native` may be asked for a tensor: whether it is float32."""
        return self._dtypes[seen.node] == torch.float32

    def native(self, seen: Seen, dims: Dims = NCHW) -> str:
        """Return a node whose value is a tensor with these dimensions as N, C, H and W."""
        if self.is_direct(seen, dims):
            return seen.node
        wanted = Seen(seen.node, _arranged(seen, dims))
        if wanted not in self._laid_out:
            self._laid_out[wanted] = self._rearranged(wanted) or self._viewed(wanted)
        return self._laid_out[wanted]

    def settled(self, seen: Seen) -> Seen:
        """Show a tensor that is a channel shuffle, or flattened, by a node of its own."""
        dims = {4: NCHW, 2: NC}.get(len(seen.layout))
        if dims is None or self.is_direct(seen, dims):
            return seen
        wanted = Seen(seen.node, _arranged(seen, dims))
        name = self._laid_out.get(wanted) or self._rearranged(wanted)
        if name is None:
            return seen
        self._laid_out[wanted] = name
        return self.shown(name, dims)

    def _rearranged(self, wanted: Seen) -> str | None:
        """Add the node that gives a layout, if it is a channel shuffle or a flattening."""
        if not self.is_native(wanted.node):
            return None
        shape, inputs = self.shape(wanted.node), (wanted.node,)
        n, c, h, w = plain(shape)
        match wanted.layout:
            case (first, (Atom(1, 1, _), Atom(1, _, groups)) as atoms, third, fourth) if (
                first,
                third,
                fourth,
            ) == (n, h, w) and size_of(atoms) == shape[1]:
                return self.add(Shuffle(name="", inputs=inputs, shape=shape, groups=groups)).name
            case (first, channels, (), ()) if first == n and channels == c + h + w:
                flat = (shape[0], shape[1] * shape[2] * shape[3], 1, 1)
                return self.add(Reshape(name="", inputs=inputs, shape=flat)).name
            case _:
                return None

    def read(self, value: Value, seen: Mapping[Value, Seen]) -> Ref:
        """Return how PyTorch reads a value, in the memory order in which the network had it."""
        return replace(self.ref(seen[value]), is_contiguous=value.is_contiguous)

    def ref(self, seen: Seen) -> Ref:
        """Return how PyTorch reads a tensor: a node in a view, which is added if need be."""
        shape = self.shape(seen.node)
        as_is = plain(shape)
        if seen.layout == as_is:
            return Ref(seen.node)
        if len(shape) == 4 and seen.layout == permuted(as_is, (0, 2, 3, 1)):
            return Ref(seen.node, View.NHWC)
        if len(shape) == 4 and shape[2:] == (1, 1) and seen.layout == as_is[:2]:
            return Ref(seen.node, View.NC)
        if seen not in self._laid_out:
            # Nodes that rearrange numbers give four dimensions.
            rearranged = self._rearranged(seen) if len(seen.layout) == 4 else None
            self._laid_out[seen] = rearranged or self._viewed(seen)
        return Ref(self._laid_out[seen])

    def _viewed(self, seen: Seen) -> str:
        """Add the calls that show a node in any layout: split, permute, repeat, join."""
        dtype = self._dtypes[seen.node]
        name = seen.node

        def then(target: Any, sizes: Iterable[int], shape: Iterable[int]) -> None:
            nonlocal name
            name = self.opaque(target, (Ref(name), list(sizes)), shape=tuple(shape), dtype=dtype)

        atoms = in_order(seen.layout)
        order = [atom for group in seen.layout for atom in group if atom.dim != REPEATED]
        sizes = tuple(atom.size for atom in atoms)
        if order != atoms:
            if sizes != self.shape(name):
                then(_aten.reshape.default, sizes, sizes)
            dims = [atoms.index(atom) for atom in order]
            then(_aten.permute.default, dims, (sizes[dim] for dim in dims))
        if has_repeats(seen.layout):
            every = [atom for group in seen.layout for atom in group]
            once = tuple(1 if atom.dim == REPEATED else atom.size for atom in every)
            if once != self.shape(name):
                then(_aten.reshape.default, once, once)
            full = tuple(atom.size for atom in every)
            then(_aten.expand.default, full, full)
        if self.shape(name) != seen.shape:
            then(_aten.reshape.default, seen.shape, seen.shape)
        return name

    def with_channels(self, seen: Seen, dim: int) -> Seen | None:
        """Show a tensor by a node whose channels are its dimension `dim`; None if none can be."""
        if self.is_native(seen.node) and seen.layout[dim] == whole(1, self.shape(seen.node)[1]):
            return seen
        if self._dtypes[seen.node] != torch.float32 or has_repeats(seen.layout):
            return None
        dims = {(4, 1): NCHW, (4, 3): NHWC, (2, 1): NC}.get((len(seen.layout), dim))
        if dims is None or (dims is NC and len(self.shape(seen.node)) == 3):
            return None
        return self.shown(self.native(seen, dims), dims)

    def shown(self, name: str, dims: Dims) -> Seen:
        """Show a node as a tensor of which these dimensions are N, C, H and W."""
        return Seen(name, self.layout(self.shape(name), dims))

    @staticmethod
    def layout(shape: Shape, dims: Dims) -> Layout:
        """Return how a tensor shows a node, with these dimensions as N, C, H and W."""
        n, c, h, w = plain(shape)
        layouts: dict[Dims, Layout] = {NCHW: (n, c, h, w), NHWC: (n, h, w, c), NC: (n, c)}
        return layouts[dims]

    def finish(self, outputs: Iterable[Ref]) -> Graph:
        """Return the graph, without nodes that nobody reads."""
        outputs = tuple(outputs)
        used = {ref.name for ref in outputs}
        kept: list[Node] = []
        for node in reversed(self._nodes.values()):
            if node.name in used or isinstance(node, Input):
                used.update(node.inputs)
                kept.append(node)
        return Graph.of(reversed(kept), outputs)


_VIEWS = {_aten.view.default, _aten._unsafe_view.default}
"""Operators that need numbers to lie in memory in a certain way, as they did in the trace."""


def _arranged(seen: Seen, dims: Dims) -> Layout:
    return tuple(() if dim is None else seen.layout[dim] for dim in dims)


def _refs(tree: Any) -> list[Ref]:
    if isinstance(tree, Ref):
        return [tree]
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, (tuple, list)):
        return [ref for item in tree for ref in _refs(item)]
    return []


def _word(target: Callable[..., Any]) -> str:
    """Return the short name of an operator."""
    packet = getattr(target, "overloadpacket", target)
    return str(packet.__name__).strip("_")
