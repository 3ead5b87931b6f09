"""What becomes of a network's layers where others come in their place."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from torch import Tensor

from onebyone.explainer.cost import LayerCost, LayerKind
from onebyone.explainer.structure.chains import Chain, chains
from onebyone.explainer.structure.patterns import Pattern, find_patterns
from onebyone.explainer.structure.wiring import Wiring
from onebyone.graph import BatchNorm, Convolution, LayerNorm, Node, Pair, Shape


@dataclass(slots=True)
class Changes:
    """What becomes of a network's layers.

    Attributes:
        layers: By the name of a layer: what comes in its place; nothing, where it is left out.
        params: Learnable numbers that are added (or taken away) beside the layers': the norms'.
        replaced: How many blocks, or layers, are replaced.
    """

    layers: dict[str, tuple[LayerCost, ...]] = field(default_factory=dict)
    params: int = 0
    replaced: int = 0
    _counted: set[int | str] = field(default_factory=set)

    def drop(self, wiring: Wiring, names: Iterable[str]) -> None:
        """Leave layers and norms out."""
        for name in names:
            self.layers[name] = ()
            self.count(wiring.graph[name], -norm_params(wiring.graph[name]))

    def count(self, node: Node, params: int) -> None:
        """Add to the learnable numbers, once where several nodes share a weight."""
        if params and weight_key(node) not in self._counted:
            self._counted.add(weight_key(node))
            self.params += params


def weight_key(node: Node) -> int | str:
    """Return what nodes have in common that share a weight, as a layer does that runs twice."""
    weight = getattr(node, "weight", None)
    if not isinstance(weight, Tensor):
        return node.name
    return weight.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def norm_params(node: Node) -> int:
    """Return the learnable numbers of a norm; 0 for any other node."""
    if not isinstance(node, (BatchNorm, LayerNorm)):
        return 0
    return sum(0 if one is None else one.numel() for one in (node.weight, node.bias))


def dense(
    like: Convolution,
    *,
    input_shape: Shape,
    output_shape: Shape,
    kernel_size: Pair,
    number: int = 0,
) -> LayerCost:
    """Return the cost of a dense convolution.

    Args:
        like: Whose place it takes; it has a bias if that has one.
        input_shape: Of what it reads.
        output_shape: Of what it gives.
        kernel_size: Height and width of its kernel.
        number: Tells several in one place apart.
    """
    weights = input_shape[1] * prod(kernel_size)
    rows, columns = (
        max(1, round(before / after))
        for before, after in zip(input_shape[2:], output_shape[2:], strict=True)
    )
    suffix = f"_{number}" if number else ""
    return LayerCost(
        name=like.name + suffix,
        path=like.path + suffix,
        kind=LayerKind.POINTWISE if kernel_size == (1, 1) else LayerKind.SPATIAL,
        macs=prod(output_shape) * weights,
        params=output_shape[1] * (weights + (like.bias is not None)),
        input_shape=input_shape,
        output_shape=output_shape,
        kernel_size=kernel_size,
        stride=(rows, columns),
    )


def inside(wiring: Wiring, first: Node, last: Node) -> tuple[str, ...]:
    """Return two layers and all that lies between them, gates too."""
    return (first.name, *wiring.between(first.name, last.name))


def bottlenecks(wiring: Wiring, patterns: Iterable[Pattern]) -> list[Chain]:
    """Return the chains with a k x k between their 1x1s that are of given patterns."""
    known = find_patterns(wiring)
    wanted = set(patterns)
    return [
        chain for chain in chains(wiring) if chain.middle and known.get(chain.last.name) in wanted
    ]


def kernel_size(chain: Chain) -> Pair:
    """Return the kernel of the k x k in a bottleneck; the largest, where there are several."""
    return max((node.kernel_size for node in chain.middle), key=prod)


def norms_per_channel(wiring: Wiring, names: Iterable[str]) -> int:
    """Return the learnable numbers for each channel of the first norm among nodes."""
    nodes = [wiring.graph[name] for name in names]
    found = [norm_params(node) // node.shape[1] for node in nodes if norm_params(node)]
    return found[0] if found else 0


def dense_chain(
    wiring: Wiring,
    chain: Chain,
    count: int,
    output_shape: Shape,
    in_channels: int | None = None,
) -> tuple[LayerCost, ...]:
    """Return dense k x k in the place of a bottleneck; the first makes its step.

    Args:
        wiring: Of the graph.
        chain: The bottleneck.
        count: How many.
        output_shape: Of what each gives.
        in_channels: Channels that the first reads; None for as many as the bottleneck reads.
    """
    n, channels, *size = wiring.graph[chain.first.inputs[0]].shape
    shapes = [(n, in_channels or channels, *size), *[output_shape] * count]
    return tuple(
        dense(
            chain.last,
            input_shape=before,
            output_shape=output_shape,
            kernel_size=kernel_size(chain),
            number=number if count > 1 else 0,
        )
        for number, before in enumerate(shapes[:-1], start=1)
    )
