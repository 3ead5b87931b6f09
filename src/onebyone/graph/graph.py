"""The one typed graph of a network, which the compiler rewrites.

Every value is a float32 tensor `(N, C, H, W)`; a vector of features is `(N, C, 1, 1)`. Fifteen
kinds of nodes say what CNNs do, and `Opaque` stands for any other PyTorch operator. Nodes are
facts: frozen, in an order in which they can run, each with the path of the module it came from.

Where a convolution is seen as a matrix product, `M` are its output pixels (N * H * W), `K` the
numbers summed for one output (channels of a group * kernel height * kernel width), and `N_out` its
output channels.

    Input  Constant                                     where values come from
    Convolution  BatchNorm  LayerNorm  Activation  Arithmetic  Softmax      what changes numbers
    Pool  Upsample  Pad                                 what changes height and width
    Concat  Slice  Shuffle  Reshape                     what only moves numbers
    Opaque                                              any other operator, run by PyTorch
"""

# pyright: reportImportCycles=false
# `Graph.__str__` imports `show` when it is called.

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from math import prod
from types import MappingProxyType
from typing import Any, Literal, Self

from torch import Tensor

Shape = tuple[int, ...]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
"""Pixels added at the top, bottom, left and right."""


class View(Enum):
    """How a value `(N, C, H, W)` is shown to PyTorch outside the graph."""

    NCHW = "NCHW"
    NHWC = "NHWC"
    """Permuted to `(N, H, W, C)`."""
    NC = "NC"
    """`(N, C)`, of a value with one pixel."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Name the value of a node, and how it is shown.

    Args:
        name: Of the node.
        view: How its value is shown.
        is_contiguous: Whether who reads it gets its numbers in the order of the indices, without
            gaps; operators may need that, where they had it in the network.
    """

    name: str
    view: View = View.NCHW
    is_contiguous: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """Name an activation function of one number; `functions.FUNCTIONS` tells what it is."""

    name: str
    parameters: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Show as `relu` or `clamp(0, 6)`."""
        shown = ", ".join(f"{p:g}" for p in self.parameters)
        return f"{self.name}({shown})" if shown else self.name


@dataclass(frozen=True, slots=True)
class Window:
    """Bound the input rows (or columns) `start .. stop - 1` that one output row (or column) pools.

    `count` is what an average divides by in this direction: it may count padding as well.
    """

    start: int
    stop: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Hold what all kinds share.

    Args:
        name: Unique in its graph.
        inputs: Names of the nodes whose values it reads.
        shape: Of its value: `(N, C, H, W)`, except for `Opaque`.
        path: Module that it came from, such as `layer2.0.conv1`; "" where that is not known.
    """

    name: str
    inputs: tuple[str, ...] = ()
    shape: Shape
    path: str = ""

    @property
    def kind(self) -> str:
        """The kind's name in lower case, as it is printed."""
        return type(self).__name__.lower()

    @property
    def place(self) -> str:
        """What a person should be told of where this is: the module's path, or the name."""
        return self.path or self.name

    def tensors(self) -> Iterator[Tensor]:
        """Go through the tensors that it holds: weights, or arguments of an opaque call."""
        return _tensors([getattr(self, one.name) for one in fields(self)])

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the node with what `change` gives in the place of each tensor that it holds."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        held = {name: value for name, value in held.items() if any(True for _ in _tensors([value]))}

        def changed(leaf: Any) -> Any:
            return change(leaf) if isinstance(leaf, Tensor) else leaf

        return replace(self, **{name: _changed(value, changed) for name, value in held.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(Node):
    """Take the user's tensor number `index`; no inputs.

    It is what the user gave, whatever its rank and type; only an `Opaque` reads one that is not
    float32 `(N, C, H, W)`.
    """

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Node):
    """Give a tensor `(1 or N, C or 1, H or 1, W or 1)` that does not depend on the input."""

    value: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution(Node):
    """Convolve `inputs[0]`, add `inputs[1]` if there is one, activate.

    What is added, a residual, has the output's shape. A linear layer is a 1x1 convolution of one
    pixel, or of every pixel; `is_linear` says that PyTorch calls it a linear layer, and changes
    nothing.

    Shape: `weight (N_out, C / groups, kernel height, kernel width)`, `bias (N_out,)`.
    """

    weight: Tensor
    bias: Tensor | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Function | None = None
    is_linear: bool = False

    @property
    def kernel_size(self) -> Pair:
        """Height and width of the kernel, in weights."""
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def macs(self) -> int:
        """Multiply-adds for all images; padding counts."""
        return prod(self.shape) * self.weight[0].numel()

    @property
    def is_pointwise(self) -> bool:
        """Whether it is what people call a 1x1: a kernel of one weight, and one group.

        It may have strides and padding.
        """
        return self.kernel_size == (1, 1) and self.groups == 1

    @property
    def is_pixelwise(self) -> bool:
        """Whether every pixel that it gives is one matrix times one that it reads, no padding."""
        return self.is_pointwise and not any(self.padding)

    @property
    def is_plain(self) -> bool:
        """Whether it goes from pixel to pixel, all channels into all."""
        return self.groups == 1 and self.stride == self.dilation == (1, 1)

    @property
    def is_depthwise(self) -> bool:
        """Whether it is what people call depthwise: every channel is convolved on its own."""
        return self.groups > 1 and self.weight.shape[1] == 1

    @property
    def is_channelwise(self) -> bool:
        """Whether it is depthwise, and every channel becomes one channel."""
        return self.is_depthwise and self.weight.shape[0] == self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm(Node):
    """Scale and shift each channel by statistics of the training, then activate.

    The value is `(x - mean) * rsqrt(var + eps) * weight + bias`.

    Shape: the four tensors are `(C,)`.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor
    eps: float
    activation: Function | None = None

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return float64 `scale` and `shift`, `(C,)` each: the value is `x * scale + shift`."""
        scale = self.weight.double() * (self.var.double() + self.eps).rsqrt()
        return scale, self.bias.double() - self.mean.double() * scale


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorm(Node):
    """Normalize the channels of each pixel, then scale and shift them.

    Shape: `weight` and `bias` are `(C,)`, or None.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(Node):
    """Apply a function to every number."""

    function: Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic(Node):
    """Combine two inputs number by number, sizes of 1 repeated as in PyTorch; then activate."""

    operator: Literal["add", "sub", "mul", "div", "maximum", "minimum"]
    activation: Function | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Node):
    """Turn the channels of each pixel into probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Node):
    """Take the maximum or the average of a window, for every output row and column.

    Windows are already cut at the border of the input: `rows` has one for each output row, and
    `columns` one for each column. Max, average, global and adaptive pooling differ only in them.
    """

    operator: Literal["max", "avg"]
    rows: tuple[Window, ...]
    columns: tuple[Window, ...]

    @property
    def is_global(self) -> bool:
        """Whether all pixels become one."""
        return len(self.rows) == len(self.columns) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample(Node):
    """Enlarge (or shrink) height and width to those of `shape`.

    Args:
        mode: Nearest pixel, or bilinear.
        align_corners: Whether the corner pixels' centres stay in place (bilinear only).
        scale: Output pixels per input pixel, in height and width, where the user gave that: PyTorch
            then computes positions from it and not from the sizes.
    """

    mode: Literal["nearest", "bilinear"]
    align_corners: bool = False
    scale: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(Node):
    """Put a border of one value around the image; never negative."""

    padding: Padding
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Node):
    """Put channels of all inputs behind each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Node):
    """Take every `step`-th of the indices `start .. stop - 1` of dimension 1, 2 or 3."""

    dim: Literal[1, 2, 3]
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle(Node):
    """Deal channels out again: seen as `groups` rows of equal length, they are read by columns.

    What ShuffleNet calls a channel shuffle: of `(N, groups, C / groups, H, W)`, dimensions 1 and 2
    change places.
    """

    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Node):
    """Flatten `(N, C, H, W)` into `(N, C * H * W, 1, 1)`, channels outermost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque(Node):
    """Call a PyTorch operator that has no kind of its own.

    `inputs` names what `arguments` and `keywords` refer to. The value may have any shape and type;
    `shape` is () where it is not a tensor.

    Args:
        target: Callable to run, such as `torch.ops.aten.cumsum.default` or `operator.getitem`.
        arguments: Tuple for the call; lists, tuples and `Ref`s for tensors stand in it as they are.
        keywords: The same, by name.
    """

    target: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Same:
    """Name a node elsewhere that gives the same value as one that goes, and say why."""

    name: str
    why: str


Change = Node | tuple[Node, ...] | Same | None
"""What comes in the place of a node; `Graph.with_changes` says what each means."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Say what changes of the graph have made of a layer that it had at first.

    Args:
        nodes: Names of the nodes that compute it now: mostly one, several where each does for
            itself what one did for all (padding), none where nothing is left to compute.
        why: Why nothing is left, or why the layer is not part of another, for people; or "".
    """

    nodes: tuple[str, ...]
    why: str = ""


NOT_NEEDED = "nothing that is left reads it"


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: nodes in an order in which they can run, and what comes out.

    Args:
        nodes: By name, inputs before those who read them.
        outputs: Values that the network gives, in the order of its flattened outputs.
        changed: What has become of each node that there was before the first change, by name; empty
            if there has been none. `fates` has it in either case.
    """

    nodes: Mapping[str, Node]
    outputs: tuple[Ref, ...]
    changed: Mapping[str, Fate] = field(default_factory=dict)

    @staticmethod
    def of(nodes: Iterable[Node], outputs: Iterable[Ref]) -> "Graph":
        """Build a graph from nodes in order."""
        return Graph(MappingProxyType({node.name: node for node in nodes}), tuple(outputs))

    def __iter__(self) -> Iterator[Node]:
        """Go through the nodes in order."""
        return iter(self.nodes.values())

    def __getitem__(self, name: str) -> Node:
        """Return the node of that name."""
        return self.nodes[name]

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.nodes)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs, in the order of the user's flattened tensors."""
        found = (node for node in self if isinstance(node, Input))
        return tuple(sorted(found, key=lambda node: node.index))

    @property
    def fates(self) -> Mapping[str, Fate]:
        """What has become of each node that there was before the first change, by name."""
        return self.changed or {name: Fate((name,)) for name in self.nodes}

    def readers(self) -> dict[str, list[str]]:
        """Return, for every node, the names of those who read it, once for each time they do."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self:
            for name in node.inputs:
                found[name].append(node.name)
        return found

    def is_output(self, name: str) -> bool:
        """Whether the value of that node leaves the graph."""
        return any(ref.name == name for ref in self.outputs)

    def with_changes(self, changes: Mapping[str, Change]) -> "Graph":
        """Return the graph with some nodes changed; a rewrite's only tool.

        Who read a changed node reads what came in its place, by whatever name. The new nodes also
        compute the layers that the old ones computed, which `fates` keeps account of.

        Args:
            changes: By name: what comes in the place of that node. A node; several nodes, of which
                the last gives its value; the `Same` value of a node elsewhere; or None, where
                nobody reads it any more. A node moves by None at its old place and itself, under
                its old name, at the new one.
        """
        alias: dict[str, str] = {}
        for old, new in changes.items():
            last = new[-1] if isinstance(new, tuple) else new
            if last is not None and last.name != old:
                alias[old] = last.name

        def final(name: str) -> str:
            while name in alias:
                name = alias[name]
            return name

        kept: list[Node] = []
        for node in self:
            new = changes.get(node.name, node)
            if new is None or isinstance(new, Same):
                continue
            for one in new if isinstance(new, tuple) else (new,):
                inputs = tuple(map(final, one.inputs))
                kept.append(one if inputs == one.inputs else _reading(one, inputs, final))
        graph = Graph.of(kept, (replace(ref, name=final(ref.name)) for ref in self.outputs))
        assert len(graph) == len(kept), "two nodes of one name"
        return replace(graph, changed=_fates_after(self, changes, graph))

    def __str__(self) -> str:
        """Show one line a node."""
        from onebyone.graph.show import show_graph

        return show_graph(self)


def _fates_after(before: Graph, changes: Mapping[str, Change], after: Graph) -> Mapping[str, Fate]:
    """Return the fates of layers behind a change: whoever computed one has heirs, or none."""
    readers = before.readers()
    heirs: dict[str, Fate] = {}
    for node in reversed(tuple(before)):
        new = changes.get(node.name, node)
        if isinstance(new, Same):
            heirs[node.name] = Fate((), new.why)
        elif new is not None:
            last = new[-1] if isinstance(new, tuple) else new
            heirs[node.name] = Fate((_computer(node, last),))
        elif node.name in after.nodes:
            heirs[node.name] = Fate((node.name,))  # it has moved
        else:
            # Who read it and does without has its work as well.
            names = (name for reader in readers[node.name] for name in heirs[reader].nodes)
            nodes = tuple(dict.fromkeys(names))
            heirs[node.name] = Fate(nodes, "" if nodes else NOT_NEEDED)
    return {layer: _inherited(fate, heirs) for layer, fate in before.fates.items()}


def _computer(old: Node, new: Node) -> str:
    """Return who does a node's work, of which only a slice may have come in its place."""
    is_part = isinstance(new, Slice) and not isinstance(old, Slice)
    return new.inputs[0] if is_part else new.name


def _inherited(fate: Fate, heirs: Mapping[str, Fate]) -> Fate:
    if not fate.nodes:
        return fate
    found = [heirs[name] for name in fate.nodes]
    nodes = tuple(dict.fromkeys(name for heir in found for name in heir.nodes))
    return Fate(nodes, "" if nodes else found[0].why)


def _tensors(items: Iterable[Any]) -> Iterator[Tensor]:
    """Go through the tensors in nested lists, tuples and mappings."""
    for item in items:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _tensors(item)
        elif isinstance(item, (dict, MappingProxyType)):
            yield from _tensors(item.values())


def _reading(node: Node, inputs: tuple[str, ...], final: Callable[[str], str]) -> Node:
    """Let a node read other names; in an `Opaque`, inside its arguments too."""
    if not isinstance(node, Opaque):
        return replace(node, inputs=inputs)

    def renamed(leaf: Any) -> Any:
        return replace(leaf, name=final(leaf.name)) if isinstance(leaf, Ref) else leaf

    arguments, keywords = _changed((node.arguments, node.keywords), renamed)
    return replace(node, inputs=inputs, arguments=arguments, keywords=keywords)


def _changed(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Rebuild nested lists, tuples and mappings with every leaf changed."""
    if isinstance(tree, (list, tuple)):
        return type(tree)(_changed(item, change) for item in tree)
    if isinstance(tree, (dict, MappingProxyType)):
        return {key: _changed(item, change) for key, item in tree.items()}
    return change(tree)
