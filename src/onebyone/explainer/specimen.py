"""One 1x1 convolution at work, to be looked at pixel by pixel."""

from dataclasses import dataclass
from math import prod

from torch import Tensor

from onebyone.explainer.samples import Images, check_images
from onebyone.graph import Convolution, Graph, interpret_nodes

MAX_NUMBERS = 28 * 28 * 256
"""Numbers of the input of a specimen, and of its weight: what a page can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """What one 1x1 convolution reads, holds and gives, on one image.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        path: Module that it came from.
        image: The image that the network saw, `(3, H, W)`, uint8; None where it saw no photo.
        input: `(in_channels, height, width)`, float32.
        weight: `(out_channels, in_channels)`.
        bias: `(out_channels,)`; zeros where it has none.
        stride: Rows and columns from one position that it reads to the next.
    """

    name: str
    path: str
    image: Tensor | None
    input: Tensor
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]


def take_specimens(graph: Graph, images: Images) -> tuple[Specimen, ...]:
    """Return at most three 1x1s at work on the first image: one that reduces, expands, mixes.

    Of each sort it is the one with the most pixels among those that are small enough to show.

    Args:
        graph: As it was captured, for one image.
        images: What the network reads; the first is taken.

    Raises:
        ShapeError: If the images are not what the network reads.
    """
    check_images(graph, images)
    chosen: dict[int, Convolution] = {}
    for node in graph:
        if not isinstance(node, Convolution) or not _can_be_shown(graph, node):
            continue
        out_channels, in_channels = node.weight.shape[:2]
        sort = (out_channels > in_channels) - (out_channels < in_channels)
        if sort not in chosen or _pixels(graph, node) > _pixels(graph, chosen[sort]):
            chosen[sort] = node
    read = {node.inputs[0] for node in chosen.values()}
    values = {name: value for name, value in interpret_nodes(graph, [images[0]]) if name in read}
    order = {name: index for index, name in enumerate(graph.nodes)}
    nodes = sorted(chosen.values(), key=lambda node: order[node.name])
    return tuple(_specimen(node, values[node.inputs[0]], images.picture(0)) for node in nodes)


def _can_be_shown(graph: Graph, node: Convolution) -> bool:
    numbers = max(prod(graph[node.inputs[0]].shape), node.weight.numel())
    is_plain = node.is_pixelwise and not node.is_linear
    return is_plain and numbers <= MAX_NUMBERS and _pixels(graph, node) > 1


def _pixels(graph: Graph, node: Convolution) -> int:
    return prod(graph[node.inputs[0]].shape[2:])


def _specimen(node: Convolution, value: Tensor, image: Tensor | None) -> Specimen:
    weight = node.weight.detach().flatten(1)
    bias = weight.new_zeros(len(weight)) if node.bias is None else node.bias.detach()
    return Specimen(
        name=node.name,
        path=node.path,
        image=image,
        input=value[0].float(),
        weight=weight,
        bias=bias,
        stride=node.stride,
    )
