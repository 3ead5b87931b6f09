"""Which convolutions run together, band of rows by band of rows.

A depthwise convolution takes so little time that bringing its numbers to memory and back, and
waiting for all threads, takes as long. A thread that goes on with each row, to the 1x1 convolution
behind it, finds the row in its cache. At a high resolution the convolution before it has its part
too: what a 1x1 convolution expands to is then larger than a core's private cache. Where a thread
does not go on where it has been, some of its rows are computed twice.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from math import prod

from onebyone.compiler.choose.choices import Band
from onebyone.compiler.choose.cost import phase_seconds, tile_seconds
from onebyone.compiler.choose.tiles import choose_row_tiling, choose_tiling
from onebyone.compiler.choose.units import runs_depthwise
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph, Node

BANDS = 16
"""Of an image: enough for threads to share, and not so many that moving rows would cost much."""


CACHE_SHARE = 4
"""Rows that wait to be read, and weights, may each fill a fourth of the private cache."""


def reached_rows(node: Convolution) -> int:
    """Return the rows from the first to the last that one row of outputs reads."""
    return (node.kernel_size[0] - 1) * node.dilation[0] + 1


def kept_rows(depthwise: Convolution, rows_at_once: int) -> int:
    """Return the rows of its input that so many rows of outputs read."""
    return (rows_at_once - 1) * depthwise.stride[0] + reached_rows(depthwise)


def choose_bands(graph: Graph, target: Target, taken: Set[str]) -> dict[str, Band]:
    """Return the bands that pay in a graph without opaque nodes, by the name of each node.

    Args:
        graph: What is to run.
        target: Processor.
        taken: Names of convolutions that run in another way.
    """
    return find_bands(graph, taken, partial(_cut_band, target))


Cut = Callable[[Convolution | None, Convolution, Convolution | None], Band | None]
"""Makes a band of a depthwise convolution and those before and behind it, or leaves some out."""


def find_bands(graph: Graph, taken: Set[str], cut: Cut) -> dict[str, Band]:
    """Return what is cut of all that may run together, by the name of each node."""
    readers = graph.readers()
    found: dict[str, Band] = {}
    for node in graph:
        if not isinstance(node, Convolution) or not _may_be_middle(node) or node.name in found:
            continue
        band = cut(
            _find_head(graph, node, taken | found.keys(), readers),
            node,
            _find_tail(graph, node, readers),
        )
        if band is not None:
            found |= dict.fromkeys(band.names, band)
    return found


def may_run_together(graph: Graph, band: Band) -> bool:
    """Whether convolutions may run as a band says, worthwhile or not."""
    node, readers = graph.nodes.get(band.depthwise), graph.readers()
    if not isinstance(node, Convolution) or not _may_be_middle(node) or len(band.names) < 2:
        return False
    head, tail = _find_head(graph, node, set(), readers), _find_tail(graph, node, readers)
    heads, tails = (None, head and head.name), (None, tail and tail.name)
    return band.head in heads and band.tail in tails


Readers = Mapping[str, Sequence[str]]


def _may_be_middle(node: Convolution) -> bool:
    return runs_depthwise(node) and not node.inputs[1:] and reached_rows(node) >= node.stride[0]


def _find_head(
    graph: Graph, node: Convolution, taken: Set[str], readers: Readers
) -> Convolution | None:
    """Return the convolution before a depthwise one that may run with it."""
    head = graph[node.inputs[0]]
    if not isinstance(head, Convolution) or not _is_private(graph, head, node, readers):
        return None
    return None if head.is_channelwise or head.name in taken or head.inputs[1:] else head


def _find_tail(graph: Graph, node: Convolution, readers: Readers) -> Convolution | None:
    """Return the 1x1 convolution behind a depthwise one that may run with it."""
    after = [graph[name] for name in readers[node.name]]
    if not after or not _is_private(graph, node, after[0], readers):
        return None
    tail = after[0]
    if not isinstance(tail, Convolution) or tail.inputs[0] != node.name:
        return None
    return tail if tail.is_pixelwise and tail.stride == (1, 1) else None


def _is_private(graph: Graph, value: Node, reader: Node, readers: Readers) -> bool:
    return list(readers[value.name]) == [reader.name] and not graph.is_output(value.name)


def _cut_band(
    target: Target, head: Convolution | None, node: Convolution, tail: Convolution | None
) -> Band | None:
    """Return the band, cut so that its rows stay in the cache, if they do.

    What the depthwise convolution reads is kept in memory where that fits the cache.
    """
    if head and 4 * prod(head.shape[1:]) <= target.level2_bytes:
        head = None
    share = target.level2_bytes // CACHE_SHARE
    members = [member for member in (head, node, tail) if member]
    weights = sum(member.weight.numel() for member in members)
    if len(members) == 1 or 4 * weights > share:
        return None
    rows_at_once = -(-node.shape[2] // BANDS)
    if head:
        _, channels, _, width = head.shape
        fitting = share // (4 * channels * width)
        largest = (fitting - reached_rows(node)) // node.stride[0] + 1
        rows_at_once = max(1, min(rows_at_once, largest))
    elif tail and not _pays_by_rows(target, tail):
        return None
    return band_of(head, node, tail, rows_at_once)


def band_of(
    head: Convolution | None, node: Convolution, tail: Convolution | None, rows_at_once: int
) -> Band:
    """Return the band of these nodes."""
    names = [member and member.name for member in (head, tail)]
    return Band(head=names[0], depthwise=node.name, tail=names[1], rows_at_once=rows_at_once)


def _pays_by_rows(target: Target, tail: Convolution) -> bool:
    """Whether tiles of single rows cost less than waiting for all threads once more."""
    _, channels, rows, columns = tail.shape
    depth = tail.weight.shape[1]
    weights = channels * depth
    row = tile_seconds(target, choose_row_tiling(target, tail), depth, weights)
    tiling = choose_tiling(target, rows * columns, channels, depth)
    whole = tile_seconds(target, tiling, depth, weights)
    return rows * row <= whole + phase_seconds(target)
