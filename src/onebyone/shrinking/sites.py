"""Which convolutions may be changed, and why the others are left alone."""

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

from torch import nn

from onebyone.graph import Convolution, Node, Opaque, Pair, Shape
from onebyone.shrinking.layers import storage, weight_of
from onebyone.shrinking.reading import Reading
from onebyone.shrinking.reasons import Why, why_derived, why_other_kind, why_special


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A convolution as it runs in the network: once, on maps of one size.

    Attributes:
        path: Of its module.
        in_channels: Channels that it reads.
        out_channels: Channels that it gives.
        kernel_size: Rows and columns of its kernel.
        stride: Rows and columns from one window to the next.
        padding: Rows of zeros above and below, and columns on either side.
        dilation: Rows and columns from one weight of the kernel to the next.
        groups: Into how many groups its channels are divided.
        has_bias: Whether it adds a learned number to each channel.
        in_shape: `(N, C, H, W)` of what it reads for one image; N is mostly 1.
        out_shape: The same of what it gives.
    """

    path: str
    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int = 1
    has_bias: bool = True
    in_shape: Shape
    out_shape: Shape

    @property
    def macs(self) -> int:
        """Multiply-adds for one image; padding counts."""
        return prod((*self.out_shape, self.in_channels // self.groups, *self.kernel_size))


def find_sites(reading: Reading) -> tuple[Site, ...]:
    """Return the convolutions that may be changed, in the order in which they run."""
    convolutions = (path for path in reading.uses if path in reading.layers.weighted)
    return tuple(
        make_site(reading, path) for path in convolutions if _why_no_site(reading, path) is None
    )


def make_site(reading: Reading, path: str) -> Site:
    """Return a 2-d convolution that runs once, as it runs."""
    conv = reading.layers[path]
    assert isinstance(conv, nn.Conv2d)
    ((in_shape, out_shape),) = reading.uses[path].shapes
    return Site(
        path=path,
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel_size=_pair(conv.kernel_size),
        stride=_pair(conv.stride),
        padding=_pair(conv.padding),
        dilation=_pair(conv.dilation),
        groups=conv.groups,
        has_bias=conv.bias is not None,
        in_shape=in_shape,
        out_shape=out_shape,
    )


def left_alone(reading: Reading, sites: Collection[Site]) -> dict[str, str]:
    """Return why each convolution and linear layer that is no site is none, by path.

    Convolutions that no layer computes stand under the names that the graph has for them.
    """
    others = {*reading.layers.weighted} - {site.path for site in sites}
    reasons = {
        path: _why_no_site(reading, path) for path in reading.layers.weighted if path in others
    }
    functions = dict.fromkeys(_functions(reading), "computed by a function, not by a layer")
    return {path: why for path, why in (reasons | functions).items() if why}


def _why_no_site(reading: Reading, path: str) -> Why:
    module = reading.layers[path]
    if why := why_other_kind(module):
        return why
    assert isinstance(module, nn.Conv2d)
    return (
        why_derived(module)
        or why_special(module)
        or reading.why_held(path)
        or _why_odd(reading, path)
    )


def _why_odd(reading: Reading, path: str) -> Why:
    ((in_shape, _),) = reading.uses[path].shapes
    return None if len(in_shape) == 4 else f"reads {len(in_shape)} dimensions, not (N, C, H, W)"


def _functions(reading: Reading) -> list[str]:
    """Return the names of the convolutions whose weight is no layer's."""
    layers = reading.layers.weighted
    weights = {storage(weight_of(layer)) for layer in layers.values()}
    return [
        node.name
        for node in reading.graph
        if _is_convolution(node)
        and node.path not in layers
        and weights.isdisjoint(map(storage, node.tensors()))
    ]


def _is_convolution(node: Node) -> bool:
    """Whether a node is a convolution of any kind, linear layers left out."""
    if isinstance(node, Opaque):
        return "convolution" in str(node.target)
    return isinstance(node, Convolution) and not node.is_linear


def _pair(numbers: object) -> Pair:
    """Return two numbers for height and width, as PyTorch's 2-d layers hold them."""
    assert isinstance(numbers, tuple)
    height, width = numbers
    return height, width
