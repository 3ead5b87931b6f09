"""Which buffer each value of a graph lies in.

Most values have a buffer of their own. A slice of channels is a view. What is concatenated is
written straight into the buffer of the concatenation; one that repeats the beginning of a longer
one (as in DenseNet) is a view of that. A sum is written over what is added, if nobody reads that
afterwards. A value that a padded convolution reads gets a border of zeros.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onebyone.compiler.abi import INPUT_WORDS, BaseWord
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.memory.arena import LINE_FLOATS
from onebyone.compiler.memory.buffers import Buffer, Region
from onebyone.compiler.memory.formats import FP32, Format
from onebyone.compiler.memory.overwriting import NO_BORDER, NOT_SHARED, find_overwritten
from onebyone.graph import Concat, Constant, Convolution, Graph, Node, Padding, Slice

ALIASING_FLOATS = 512
"""4096 bytes: what first-level caches take apart addresses by."""


@dataclass(slots=True)
class Placement:
    """Hold the region of each value, and which concatenations still need copies.

    Args:
        regions: By node.
        copied: For each concatenation, the inputs that lie elsewhere, with the region they go to.
    """

    regions: dict[str, Region] = field(default_factory=dict)
    copied: dict[str, list[tuple[str, Region]]] = field(default_factory=dict)

    def rename(self, buffer: Buffer, name: str) -> None:
        """Let a buffer go by another name."""
        renamed = replace(buffer, name=name)
        for node, region in self.regions.items():
            if region.buffer == buffer:
                self.regions[node] = replace(region, buffer=renamed)


@dataclass(frozen=True, slots=True)
class _Share:
    """A value is channels `channel ...` of the value of another node."""

    owner: str
    channel: int


def is_view(node: Node) -> bool:
    """Whether a node's value is a part of its input, with nothing to be done."""
    return isinstance(node, Slice) and node.dim == 1 and node.step == 1


def place_values(graph: Graph, choices: Mapping[str, Choices], numbers: Format = FP32) -> Placement:
    """Give every value of a graph without opaque nodes its region.

    Args:
        graph: Whose values.
        choices: How nodes run; convolutions after Winograd read patches of their input.
        numbers: Format of values that are neither constants nor the caller's.
    """
    shares, copied = _share_buffers(graph)
    joined = shares.keys() | {share.owner for share in shares.values()}
    apart = _borders(graph, _roots(graph, shares), choices)
    overwritten = find_overwritten(graph, choices, apart, joined)
    shares |= {name: _Share(old, 0) for name, old in overwritten.items()}
    roots = _roots(graph, shares)
    borders = _borders(graph, roots, choices)
    direct = _direct_outputs(graph, roots, borders)
    placement = Placement()
    buffers: dict[str, Buffer] = {}
    for node in graph:
        owner = graph[roots[node.name].owner]
        if owner.name not in buffers:
            base = (
                BaseWord.CONSTANTS
                if isinstance(owner, Constant)
                else direct.get(owner.name, BaseWord.ARENA)
            )
            border = borders.get(owner.name, NO_BORDER)
            buffers[owner.name] = Buffer(
                name=owner.name,
                shape=owner.shape,
                border=border,
                base=base,
                pixel_stride=_pixel_stride(owner) if base == BaseWord.ARENA else 0,
                format=numbers if base == BaseWord.ARENA else FP32,
            )
        channels = node.shape[1]
        placement.regions[node.name] = Region(
            buffer=buffers[owner.name], channel=roots[node.name].channel, channels=channels
        )
    for name, inputs in copied.items():
        whole = placement.regions[name]
        placement.copied[name] = [
            (source, whole.narrowed(channel, graph[source].shape[1])) for source, channel in inputs
        ]
    return placement


def _pixel_stride(node: Node) -> int:
    """Return the floats from one pixel to the next."""
    _, channels, height, width = node.shape
    return spread(channels) if height * width > 1 else channels


def spread(channels: int) -> int:
    """Return how many floats apart pixels should lie.

    If pixels were a multiple of 4096 bytes apart, all rows of a tile would fall into the same few
    places of the first-level cache and push each other out; a cache line more, and they do not.
    """
    return channels + LINE_FLOATS if channels % ALIASING_FLOATS == 0 else channels


def _share_buffers(graph: Graph) -> tuple[dict[str, _Share], dict[str, list[tuple[str, int]]]]:
    """Decide who lies inside whose buffer; longer concatenations first."""
    shares: dict[str, _Share] = {}
    copied: dict[str, list[tuple[str, int]]] = {}
    for node in graph:
        if isinstance(node, Slice) and is_view(node):
            shares[node.name] = _Share(node.inputs[0], node.start)
    for node in reversed(list(graph)):
        if not isinstance(node, Concat):
            continue
        begun = _begins_longer(graph, node, shares)
        if begun is not None:
            shares[node.name] = begun
            copied[node.name] = []
            continue
        copied[node.name] = []
        channel = 0
        for name in node.inputs:
            if name in shares or isinstance(graph[name], NOT_SHARED):
                copied[node.name].append((name, channel))
            else:
                shares[name] = _Share(node.name, channel)
            channel += graph[name].shape[1]
    return shares, copied


def _roots(graph: Graph, shares: Mapping[str, _Share]) -> dict[str, _Share]:
    """Return for each node whose buffer it lies in, and from which channel on."""

    def root(name: str) -> _Share:
        channel = 0
        while name in shares:
            share = shares[name]
            name, channel = share.owner, channel + share.channel
        return _Share(name, channel)

    return {node.name: root(node.name) for node in graph}


def _begins_longer(graph: Graph, node: Concat, shares: dict[str, _Share]) -> _Share | None:
    """Return where this concatenation lies, if its inputs follow each other in a longer one."""
    if node.name in shares or not all(name in shares for name in node.inputs):
        return None
    first = shares[node.inputs[0]]
    if not isinstance(graph[first.owner], Concat):
        return None
    channel = first.channel
    for name in node.inputs:
        if shares[name] != _Share(first.owner, channel):
            return None
        channel += graph[name].shape[1]
    return first


def _borders(
    graph: Graph, roots: dict[str, _Share], choices: Mapping[str, Choices]
) -> dict[str, Padding]:
    """Return how many zeros around each buffer its readers reach for."""
    borders: dict[str, Padding] = {}
    for node in graph:
        if isinstance(node, Convolution):
            owner = roots[node.inputs[0]].owner
            known = borders.get(owner, NO_BORDER)
            _, _, height, width = graph[node.inputs[0]].shape
            way = choices[node.name].winograd
            reached = (way.reach if way else _reach)(node, height, width)
            top, bottom, left, right = map(max, known, reached)
            borders[owner] = (top, bottom, left, right)
    return borders


def _reach(node: Convolution, *size: int) -> Padding:
    """Return the rows and columns outside of its input that a convolution reads."""
    top, _, left, _ = node.padding
    after = []
    for axis, before in ((0, top), (1, left)):
        last = (node.shape[2 + axis] - 1) * node.stride[axis] - before
        last += (node.kernel_size[axis] - 1) * node.dilation[axis]
        after.append(max(0, last - (size[axis] - 1)))
    return (top, after[0], left, after[1])


def _direct_outputs(
    graph: Graph, roots: dict[str, _Share], borders: dict[str, Padding]
) -> dict[str, int]:
    """Return the outputs that can be computed in the caller's tensor: those of one pixel."""
    first = BaseWord.FIRST_TENSOR + INPUT_WORDS * len(graph.inputs)
    names = [ref.name for ref in graph.outputs]
    return {
        name: first + index
        for index, name in enumerate(names)
        if names.count(name) == 1
        and graph[name].inputs
        and graph[name].shape[2:] == (1, 1)
        and roots[name].owner == name
        and not any(borders.get(name, ()))
    }
