"""Widths that only two layers know of: the one that gives them, and the one that reads them."""

from dataclasses import dataclass

from onebyone.graph import Activation, Convolution, Node, Pad, Pool, Upsample
from onebyone.shrinking.sites import Layers, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenGroup:
    """A width between two layers, which nobody else reads.

    Attributes:
        producer: Path of the layer that gives it.
        depthwise: Layers between, which treat each channel by itself and have as many.
        consumer: Path of the layer that reads it.
        channels: How wide it is.
    """

    producer: str
    depthwise: tuple[Site, ...]
    consumer: str
    channels: int


@dataclass(frozen=True, slots=True)
class _Refusal:
    why: str


def read_groups(layers: Layers, sites: dict[str, Site]) -> tuple[list[HiddenGroup], dict[str, str]]:
    """Return the widths that may become narrower, and why others may not, by their producer."""
    readers = layers.graph.readers()
    groups: list[HiddenGroup] = []
    unproven: dict[str, str] = {}
    for path in sites:
        found = _follow(layers, readers, sites, path)
        if isinstance(found, _Refusal):
            unproven[path] = found.why
        else:
            groups.append(found)
    return groups, unproven


def _follow(
    layers: Layers, readers: dict[str, list[str]], sites: dict[str, Site], path: str
) -> HiddenGroup | _Refusal:
    """Go from a layer to the only one that reads what it gives, channel by channel."""
    depthwise: list[Site] = []
    node: Node = layers.calls[path][0]
    while True:
        if layers.graph.is_output(node.name):
            return _Refusal("the network gives it")
        found = readers[node.name]
        if len(found) != 1:
            return _Refusal("several layers read it" if found else "nobody reads it")
        node = layers.graph[found[0]]
        if isinstance(node, Activation | Pool | Pad | Upsample):
            continue
        if not isinstance(node, Convolution):
            return _Refusal(f"{_READERS.get(node.kind, node.kind)} reads it")
        if node.is_channelwise:
            if why := _why_not_narrowed(layers, node):
                return _Refusal(f"{node.place} reads it: {why}")
            depthwise.append(layers.site(node.path))
            continue
        if node.path not in sites:
            return _Refusal(f"{node.place} reads it, which is left alone")
        return HiddenGroup(
            producer=path,
            depthwise=tuple(depthwise),
            consumer=node.path,
            channels=sites[path].out_channels,
        )


_READERS = {
    "arithmetic": "a sum or a product",
    "concat": "a concatenation",
    "slice": "a slice",
    "shuffle": "a shuffle of channels",
    "reshape": "a flattening",
    "batchnorm": "a batch norm that could not be folded",
    "layernorm": "a layer norm",
    "softmax": "a softmax",
    "opaque": "an operator that mixes what it likes",
}


def _why_not_narrowed(layers: Layers, node: Convolution) -> str:
    if node.path not in layers.modules:
        return "it is no layer of its own"
    return layers.why_not_changed(node.path)
