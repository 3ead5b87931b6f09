"""Widths between two convolutions that nobody else reads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile

from onebyone.graph import Convolution, Node
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.mixing import Width, why_mixed
from onebyone.shrinking.reading import Reading
from onebyone.shrinking.reasons import Why
from onebyone.shrinking.sites import Site, make_site


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenGroup:
    """A width between two convolutions that nobody else reads.

    Attributes:
        producer: Path of the convolution that gives it.
        depthwise: The convolutions between, in the order in which they run; they have as many
            channels, and convolve each by itself.
        consumer: Path of the convolution that reads it.
        channels: How wide it is.
    """

    producer: str
    depthwise: tuple[Site, ...]
    consumer: str
    channels: int


def find_groups(
    reading: Reading, sites: Collection[Site], folds: Collection[FoldNorm]
) -> tuple[tuple[HiddenGroup, ...], dict[str, str]]:
    """Return the hidden groups, and why there is none behind the other sites, by their path.

    Args:
        reading: Of the network, proven.
        sites: What may be changed.
        folds: Norms that are gone once they are folded.
    """
    by_path = {site.path: site for site in sites}
    norms = frozenset(fold.norm for fold in folds)
    found = {path: _find_group(reading, by_path, norms, path) for path in by_path}
    groups = tuple(one for one in found.values() if isinstance(one, HiddenGroup))
    return groups, {path: why for path, why in found.items() if isinstance(why, str)}


def _find_group(
    reading: Reading, sites: Mapping[str, Site], folded: Collection[str], path: str
) -> HiddenGroup | str:
    """Follow what a site gives, channel by channel, to who mixes the channels."""
    nodes = dropwhile(lambda node: not (node.path == path and reading.is_own(node)), reading.graph)
    producer = next(nodes, None)
    if producer is None:
        return "not computed in float32"
    width = Width(reading, folded, {producer.name: producer})
    consumers: list[Convolution] = []
    for node in nodes:
        if width.nodes.keys().isdisjoint(node.inputs):
            continue
        if isinstance(node, Convolution) and node.groups == 1:
            consumers.append(node)
        elif why := why_mixed(width, node):
            return why
        else:
            width.nodes[node.name] = node
    if sites[path].out_channels == 1:
        return "one channel"
    if any(map(reading.graph.is_output, width.nodes)):
        return "given by the network"
    return _why_not_one(sites, consumers) or _group(width, sites[path], consumers[0])


def _why_not_one(sites: Collection[str], consumers: Sequence[Convolution]) -> Why:
    """Say why the convolutions that read a width are not one that may be changed."""
    assert consumers, "the graph has nothing that nobody reads"
    if len(consumers) > 1:
        return f"read by {len(consumers)} layers: {', '.join(one.place for one in consumers)}"
    (consumer,) = consumers
    if consumer.is_linear:
        return f"read by the linear layer {consumer.place}"
    return None if consumer.path in sites else f"read by {consumer.place}, which is left alone"


def _group(width: Width, producer: Site, consumer: Convolution) -> HiddenGroup | str:
    reading = width.reading
    places = {consumer.path, *(node.path for node in width.nodes.values())}
    if watcher := reading.layers.watcher(places):
        return f"seen by a hook on {watcher}"
    return HiddenGroup(
        producer=producer.path,
        depthwise=tuple(make_site(reading, path) for path in _depthwise(width, producer)),
        consumer=consumer.path,
        channels=producer.out_channels,
    )


def _depthwise(width: Width, producer: Site) -> list[str]:
    nodes: Collection[Node] = width.nodes.values()
    convolutions = (node.path for node in nodes if isinstance(node, Convolution))
    return [path for path in convolutions if path != producer.path]
