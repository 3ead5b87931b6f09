"""Which convolutions run together, band of rows by band of rows.

A depthwise convolution takes so little time that bringing its numbers to memory and back, and
waiting for all threads, takes as long. A thread that goes on with each row, to the 1x1 convolution
behind it, finds the row in its cache. At a high resolution the convolution before it has its part
too: what a 1x1 convolution expands to is then larger than a core's private cache. Where a thread
does not go on where it has been, some of its rows are computed twice.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from onebyone.compiler.choices.cost import PHASE_WORK, estimate_work
from onebyone.compiler.choices.tiles import choose_tiling
from onebyone.compiler.kernels.winograd.filtering import Winograd
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph, Node

BANDS = 16
"""Of an image: enough for threads to share, and not so many that moving rows would cost much."""


CACHE_SHARE = 4
"""Rows that wait to be read, and weights, may each fill a fourth of the private cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Convolutions that follow each other; the values between them exist a few rows at a time.

    Args:
        head: Dense convolution whose rows the depthwise one reads; None if it reads from memory.
        depthwise: In the middle.
        tail: 1x1 convolution of what that gives; None if it goes to memory.
        rows_at_once: Rows of outputs of a band; the last band of an image may have fewer.
    """

    head: Convolution | None
    depthwise: Convolution
    tail: Convolution | None
    rows_at_once: int

    @property
    def nodes(self) -> tuple[Convolution, ...]:
        """All of them, in order."""
        found = (self.head, self.depthwise, self.tail)
        return tuple(node for node in found if node is not None)

    @property
    def bands(self) -> int:
        """Bands of an image."""
        return -(-self.depthwise.shape[2] // self.rows_at_once)


def runs_depthwise(node: Convolution) -> bool:
    """Whether a convolution has the kernel that goes through channels side by side."""
    is_square = node.stride[0] == node.stride[1] and node.dilation[0] == node.dilation[1]
    return node.is_channelwise and is_square


def reached_rows(node: Convolution) -> int:
    """Return the rows from the first to the last that one row of outputs reads."""
    return (node.kernel_size[0] - 1) * node.dilation[0] + 1


def kept_rows(depthwise: Convolution, rows_at_once: int) -> int:
    """Return the rows of its input that so many rows of outputs read."""
    return (rows_at_once - 1) * depthwise.stride[0] + reached_rows(depthwise)


def choose_bands(
    graph: Graph, target: Target, winograds: Mapping[str, Winograd]
) -> dict[str, Band]:
    """Return the bands of a graph without opaque nodes, by the name of each of their nodes."""
    readers = graph.readers()
    found: dict[str, Band] = {}
    for node in graph:
        if isinstance(node, Convolution) and runs_depthwise(node) and node.name not in found:
            taken = winograds.keys() | found.keys()
            band = _choose_band(graph, target, node, taken, readers)
            if band is not None:
                found |= {member.name: band for member in band.nodes}
    return found


def _choose_band(
    graph: Graph,
    target: Target,
    node: Convolution,
    taken: Set[str],
    readers: Mapping[str, Sequence[str]],
) -> Band | None:
    """Return the band around a depthwise convolution, without what runs in another way already."""
    if node.inputs[1:] or reached_rows(node) < node.stride[0]:
        return None

    def is_private(value: Node, reader: Node) -> bool:
        return list(readers[value.name]) == [reader.name] and not graph.is_output(value.name)

    def is_large(value: Node) -> bool:
        _, channels, height, width = value.shape
        return 4 * channels * height * width > target.level2_bytes

    before = graph[node.inputs[0]]
    head = before if isinstance(before, Convolution) and is_private(before, node) else None
    if head and (head.is_channelwise or head.name in taken or head.inputs[1:]):
        head = None
    if head and not is_large(head):
        head = None
    after = [graph[name] for name in readers[node.name]]
    tail = after[0] if after and is_private(node, after[0]) else None
    if not (isinstance(tail, Convolution) and tail.is_pixelwise and tail.stride == (1, 1)):
        tail = None
    if tail and tail.inputs[0] != node.name:
        tail = None
    return _cut_band(target, head, node, tail) if head or tail else None


def _cut_band(
    target: Target, head: Convolution | None, node: Convolution, tail: Convolution | None
) -> Band | None:
    """Return the band, cut so that its rows stay in the cache, if they do."""
    share = target.level2_bytes // CACHE_SHARE
    members = [member for member in (head, node, tail) if member]
    weights = sum(member.weight.numel() for member in members)
    if 4 * weights > share:
        return None
    rows_at_once = -(-node.shape[2] // BANDS)
    if head:
        _, channels, _, width = head.shape
        fitting = share // (4 * channels * width)
        largest = (fitting - reached_rows(node)) // node.stride[0] + 1
        rows_at_once = max(1, min(rows_at_once, largest))
    elif tail and not _pays_by_rows(target, tail):
        return None
    return Band(head=head, depthwise=node, tail=tail, rows_at_once=rows_at_once)


def _pays_by_rows(target: Target, tail: Convolution) -> bool:
    """Whether tiles of single rows cost less than waiting for all threads once more."""
    _, channels, rows, columns = tail.shape
    depth = tail.weight.shape[1]

    def work(pixels: int) -> float:
        return estimate_work(target, choose_tiling(target, pixels, channels, depth), depth)

    return rows * work(columns) <= work(rows * columns) + PHASE_WORK
