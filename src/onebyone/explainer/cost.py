"""What each layer of a network costs, counted on its graph."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload

from onebyone.explainer.follow import as_evaluated
from onebyone.explainer.memory import FLOAT_BYTES, NOTHING_HELD, Peak, find_peak, is_view
from onebyone.graph import Convolution, Graph, Node, Opaque, Pair, Ref, Shape, View, capture

_NOTHING = re.compile(r"softmax|norm|pool|pad|upsample|cat|stack|roll|index|gather|copy")
"""Operators that count as nothing, as their like do in the graph: norms, pools, moves of numbers.

Operators on each number by itself and plain sums are known by PyTorch's tags.
"""


class LayerKind(StrEnum):
    """The kinds of layer that have multiply-adds; the graph says which is which."""

    POINTWISE = "1x1"
    GROUPED_POINTWISE = "grouped 1x1"
    DEPTHWISE = "depthwise"
    SPATIAL = "k x k"
    LINEAR = "linear"
    OTHER = "other"
    """What the graph has no node for: 1-d, 3-d and transposed convolutions, attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer costs, each time that it runs.

    Attributes:
        name: Of its node in the graph, which no other has: a layer that runs twice has two.
        path: Module that it came from, such as `layer2.0.conv1`.
        kind: What sort of layer it is.
        macs: Multiply-adds for all images of the input.
        params: Numbers in its weight and bias; 0 where both factors depend on the input.
        input_shape: Of what it reads, as the graph has it: `(N, C, H, W)`.
        output_shape: Of what it gives.
        other_input_shapes: Of what else it reads, such as the second factor of a product.
        kernel_size: Height and width of its kernel; None where it has none, or another number of
            dimensions.
        stride: Rows and columns from one window that it reads to the next.
        groups: Into how many groups its channels are divided.
    """

    name: str
    path: str
    kind: LayerKind
    macs: int
    params: int
    input_shape: Shape
    output_shape: Shape
    other_input_shapes: tuple[Shape, ...] = ()
    kernel_size: Pair | None = None
    stride: Pair = (1, 1)
    groups: int = 1

    @property
    def weight_bytes(self) -> int:
        """Bytes of its weight and bias, in float32."""
        return FLOAT_BYTES * self.params

    @property
    def bytes_read(self) -> int:
        """Bytes of the activations that it reads, in float32, each once and whole.

        That is so also where a stride leaves some of them out, and without padding.
        """
        return FLOAT_BYTES * sum(map(prod, (self.input_shape, *self.other_input_shapes)))

    @property
    def bytes_written(self) -> int:
        """Bytes of what it gives, in float32."""
        return FLOAT_BYTES * prod(self.output_shape)

    @property
    def moved_bytes(self) -> int:
        """Bytes that it must move at least: its weights, what it reads and what it gives."""
        return self.weight_bytes + self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: multiply-adds for each byte that it moves (MACs/byte).

        Others give FLOPs for each byte, which are twice as many.
        """
        return intensity([self])


def intensity(layers: Iterable[LayerCost]) -> float:
    """Return the multiply-adds of layers for each byte that they move (MACs/byte).

    It is that of their sums, not the mean of each one's; 0 where there are none.
    """
    layers = tuple(layers)
    moved_bytes = sum(layer.moved_bytes for layer in layers)
    return sum(layer.macs for layer in layers) / moved_bytes if moved_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What a network costs.

    Convention: multiply-adds of convolutions, linear layers and other matrix products that depend
    on the input; biases, norms, activations, pools and residuals count as nothing.
    `torch.utils.flop_counter` counts the same, and calls each two FLOPs.

    Attributes:
        layers: What has multiply-adds, in the order in which it runs.
        params: Learnable numbers of the whole network, batch norms and layers that don't run
            included.
        not_counted: Operators that may have multiply-adds, and for which PyTorch has no formula:
            each as its place and its name.
        peak: When most memory is held for activations, and how much; `find_peak` has the
            convention.
    """

    layers: tuple[LayerCost, ...]
    params: int
    not_counted: tuple[str, ...] = ()
    peak: Peak = NOTHING_HELD

    @property
    def peak_bytes(self) -> int:
        """The most memory that activations must have at one time."""
        return self.peak.bytes

    @property
    def weight_bytes(self) -> int:
        """Bytes of all learnable numbers, in float32."""
        return FLOAT_BYTES * self.params

    @property
    def intensity(self) -> float:
        """Multiply-adds of all layers for each byte that they move (MACs/byte)."""
        return intensity(self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole network."""
        return sum(layer.macs for layer in self.layers)

    def of_kind(self, kind: LayerKind) -> tuple[LayerCost, ...]:
        """Return the layers of one kind."""
        return tuple(layer for layer in self.layers if layer.kind == kind)

    def macs_share(self, kind: LayerKind) -> float:
        """Return the share of the multiply-adds that layers of one kind have, 0 to 1."""
        return sum(layer.macs for layer in self.of_kind(kind)) / self.macs if self.macs else 0.0


def count_cost(network: nn.Module, input_shape: Shape) -> CostReport:
    """Count what a network costs for an input of a shape, without computing anything.

    Its weights may be on the meta device. It is counted as in evaluation, and without its hooks.

    Args:
        network: The network; it is left unchanged.
        input_shape: Shape of one input, `(1, 3, H, W)`.

    Raises:
        ModelError: If what it does depends on the numbers in its input, or if it fails.
    """
    example = torch.empty(input_shape, device="meta")
    graph = capture(as_evaluated(network), (example,)).graph
    params = sum(parameter.numel() for parameter in network.parameters())
    return count_graph(graph, params=params)


def count_graph(graph: Graph, *, params: int) -> CostReport:
    """Count what a captured network costs.

    Args:
        graph: As it was captured, or rewritten.
        params: Learnable numbers of the network, which a graph does not know.
    """
    layers: list[LayerCost] = []
    not_counted: list[str] = []
    for node in graph:
        if isinstance(node, Convolution):
            layers.append(_cost(graph, node, _kind(node), node.macs))
        elif isinstance(node, Opaque):
            macs = _opaque_macs(graph, node)
            if macs is not None:
                layers.append(_cost(graph, node, LayerKind.OTHER, macs))
            elif not _counts_as_nothing(node):
                not_counted.append(f"{node.place} ({node.target})")
    return CostReport(
        layers=tuple(layers),
        params=params,
        not_counted=tuple(not_counted),
        peak=find_peak(graph),
    )


def _cost(graph: Graph, node: Node, kind: LayerKind, macs: int) -> LayerCost:
    read, *others = (graph[name].shape for name in dict.fromkeys(node.inputs))
    convolution = node if isinstance(node, Convolution) and not node.is_linear else None
    return LayerCost(
        name=node.name,
        path=node.path,
        kind=kind,
        macs=macs,
        params=sum(tensor.numel() for tensor in node.tensors()),
        input_shape=read,
        output_shape=node.shape,
        other_input_shapes=tuple(others),
        kernel_size=convolution.kernel_size if convolution else None,
        stride=convolution.stride if convolution else (1, 1),
        groups=convolution.groups if convolution else 1,
    )


def _kind(node: Convolution) -> LayerKind:
    if node.is_linear:
        return LayerKind.LINEAR
    if node.is_pointwise:
        return LayerKind.POINTWISE
    if node.kernel_size == (1, 1):
        return LayerKind.GROUPED_POINTWISE
    return LayerKind.DEPTHWISE if node.is_depthwise else LayerKind.SPATIAL


def _opaque_macs(graph: Graph, node: Opaque) -> int | None:
    """Return the multiply-adds of an operator of PyTorch's; None if it has no formula for it."""
    from torch.utils.flop_counter import flop_registry

    formula = flop_registry.get(getattr(node.target, "overloadpacket", None))
    if formula is None:
        return None

    def given(leaf: Any) -> Any:
        """Put a tensor without numbers in the place of a reference."""
        if isinstance(leaf, Ref):
            return torch.empty(_shown_shape(graph[leaf.name].shape, leaf.view), device="meta")
        if isinstance(leaf, (tuple, list)):
            return type(leaf)(map(given, leaf))
        return leaf

    keywords = {key: given(value) for key, value in node.keywords.items()}
    result = torch.empty(node.shape, device="meta")
    return formula(*given(tuple(node.arguments)), **keywords, out_val=result) // 2


def _shown_shape(shape: Shape, view: View) -> Shape:
    """Return the shape of a value in a view."""
    if view is View.NHWC:
        return (shape[0], *shape[2:], shape[1])
    return (shape[0], prod(shape[1:])) if view is View.NC else shape


def _counts_as_nothing(node: Opaque) -> bool:
    """Whether an operator is of a sort that has no multiply-adds by convention."""
    if not isinstance(node.target, OpOverload):
        return True  # it takes one of several results
    is_plain = {torch.Tag.pointwise, torch.Tag.reduction} & {*node.target.tags}
    return is_view(node) or bool(is_plain) or bool(_NOTHING.search(str(node.target)))
