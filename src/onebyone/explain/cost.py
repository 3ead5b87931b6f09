"""What each layer of a network costs."""

import copy
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn


class LayerKind(StrEnum):
    """The kinds of layer that have multiply-adds."""

    POINTWISE = "1x1"
    GROUPED_POINTWISE = "grouped 1x1"
    DEPTHWISE = "depthwise"
    SPATIAL = "k x k"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer costs for one image.

    Attributes:
        name: Path of the layer in the network.
        kind: What sort of layer it is.
        macs: Multiply-adds; a layer that runs twice counts twice.
        params: Learnable numbers, the bias included.
    """

    name: str
    kind: LayerKind
    macs: int
    params: int


@dataclass(frozen=True, slots=True)
class CostReport:
    """What a network costs for one image.

    Convention: multiply-adds of convolutions and linear layers; additions of biases, batch norms,
    activations, pools and residuals count as nothing. FLOPs, as others count them, are twice that.

    Attributes:
        layers: The layers that have multiply-adds, in the order of the network's definition.
        params: Learnable numbers of the whole network, batch norms included.
    """

    layers: tuple[LayerCost, ...]
    params: int

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


def count_cost(network: nn.Module, input_shape: tuple[int, ...]) -> CostReport:
    """Count what a network costs for an input of a shape, without computing anything.

    Counts the convolution and linear *modules*; what a network calls as a function is not seen.

    Args:
        network: The network; it is left unchanged.
        input_shape: Shape of one input, `(1, 3, H, W)`.
    """
    network = copy.deepcopy(network).to("meta").eval()
    macs: dict[str, int] = {}
    for module in network.modules():  # the user's hooks came along, and are not to run
        module._forward_hooks.clear()  # pyright: ignore[reportPrivateUsage]
        module._forward_pre_hooks.clear()  # pyright: ignore[reportPrivateUsage]
    counted = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    for name, module in counted.items():
        macs[name] = 0

        def add(layer: nn.Conv2d | nn.Linear, _: object, output: Tensor, name: str = name) -> None:
            macs[name] += _macs(layer, output)

        module.register_forward_hook(add)
    with torch.inference_mode():
        network(torch.empty(input_shape, device="meta"))
    return CostReport(
        layers=tuple(
            LayerCost(name, _kind(module), macs[name], _params(module))
            for name, module in counted.items()
        ),
        params=_params(network),
    )


def _macs(layer: nn.Conv2d | nn.Linear, output: Tensor) -> int:
    """Each output number is one dot product, over a row of the weight."""
    return output.numel() * layer.weight[0].numel()


def _kind(layer: nn.Module) -> LayerKind:
    if isinstance(layer, nn.Linear):
        return LayerKind.LINEAR
    assert isinstance(layer, nn.Conv2d)
    if layer.kernel_size == (1, 1):
        return LayerKind.POINTWISE if layer.groups == 1 else LayerKind.GROUPED_POINTWISE
    return LayerKind.DEPTHWISE if layer.groups == layer.in_channels > 1 else LayerKind.SPATIAL


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
