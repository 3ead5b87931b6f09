"""What every 1x1 convolution is for, read off the graph."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from onebyone.explainer.structure.behind import look_behind
from onebyone.explainer.structure.chains import pointwise
from onebyone.explainer.structure.patterns import Pattern, find_patterns, keeps_scores, leads_out
from onebyone.explainer.structure.wiring import Residual, Wiring
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Convolution,
    Graph,
    Input,
    LayerNorm,
    Node,
)


class Role(StrEnum):
    """What a 1x1 convolution is for; each has one, the first of these that fits.

    A 1x1 that reads an input of the network is known by its widths alone. "Behind it" and "reads"
    look through norms, activations, pads, pools of windows, and factors for each channel.
    """

    GATE = "gate"
    """Computes what another map is scaled or shifted with, as in squeeze-and-excitation: through
    activations and other 1x1s, its value becomes nothing else."""
    HEAD = "head"
    """Gives what the network is for, such as the scores of classes: between it and the output lie
    activations and pools at most."""
    SHORTCUT = "shortcut"
    """Projects what skips a block, so that it can be added to what the block gives: the only layer
    that mixes channels on one way to a sum, where the other way does more."""
    PROJECT = "linear projection"
    """Reduces, and no activation lies between it and the next layer or sum: the end of an inverted
    bottleneck."""
    MERGE = "merge"
    """Mixes maps that were concatenated for it alone. One that ends a residual branch gives the
    width that the sum wants, and is told by that: `Pattern.FILTER_EXPANSION`."""
    REDUCE = "reduce"
    """Gives fewer channels than it reads."""
    EXPAND = "expand"
    """Gives more channels than it reads."""
    MIX = "mix"
    """Gives as many channels as it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointwise:
    """What one 1x1 convolution is for.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        path: Module that it came from.
        role: What it is for.
        pattern: Arrangement that it is a part of; None if it is in none that has a name.
        in_channels: Channels that it reads.
        out_channels: Channels that it gives.
        stride: Rows and columns from one position that it reads to the next.
        norm: Kind of norm right behind it, such as "batch norm"; None if there is none. Where norm
            and activation come first, as in pre-activation networks, these are the next layer's.
        activation: Function behind it, and behind its norm, such as "relu6"; None if what reads it
            is another layer, a pool or a sum.
        dropout: Whether dropout follows before the next layer, sum or concatenation, pools aside;
            it does something in training only.
        why: What in the graph says so, for people, such as "into the sum layer1.0.add".
    """

    name: str
    path: str
    role: Role
    pattern: Pattern | None
    in_channels: int
    out_channels: int
    stride: tuple[int, int]
    norm: str | None
    activation: str | None
    dropout: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """Three layers across the sum of a residual network: k x k, expand, the next block's reduce.

    They look like small -> large -> small, and are no block: between the second and the third lie
    a norm, the sum with the shortcut, and an activation.

    Attributes:
        layers: Paths of the three.
        channels: Widths on the way: what the k x k gives, the stream's, what the reduce gives.
        between: What lies between the second and the third, in order, such as
            `("batch norm", "add", "relu")`.
    """

    layers: tuple[str, str, str]
    channels: tuple[int, int, int]
    between: tuple[str, ...]


def find_roles(graph: Graph, *, dropouts: Collection[str] = ()) -> tuple[Pointwise, ...]:
    """Return what each 1x1 convolution is for, in the order in which they run.

    Linear layers, which are 1x1s to the graph, are left out, and so are grouped ones.

    Args:
        graph: As it was captured; its parts may be unconnected.
        dropouts: Names of the nodes whose values dropout is applied to, as `Captured.dropouts` has
            them; in evaluation it does nothing, and no graph has it.
    """
    wiring = Wiring(graph)
    patterns = find_patterns(wiring)
    residuals = wiring.residuals
    found: list[Pointwise] = []
    for node in pointwise(wiring):
        role, why = _role(wiring, residuals, node)
        pattern = None if role in (Role.GATE, Role.SHORTCUT) else patterns.get(node.name)
        behind = look_behind(wiring, node, dropouts)
        found.append(
            Pointwise(
                name=node.name,
                path=node.path,
                role=role,
                pattern=pattern,
                in_channels=node.weight.shape[1],
                out_channels=node.weight.shape[0],
                stride=node.stride,
                norm=behind.norm,
                activation=behind.activation,
                dropout=behind.dropout,
                why=f"{why}, in the head" if pattern is Pattern.HEAD_FEATURES else why,
            )
        )
    return tuple(found)


Why = str | None


def _role(wiring: Wiring, residuals: tuple[Residual, ...], node: Convolution) -> tuple[Role, str]:
    """Return what a 1x1 is for, and what says so."""
    if not isinstance(wiring.graph[node.inputs[0]], Input):
        for role, reason in _REASONS.items():
            if why := reason(wiring, residuals, node):
                return role, why
    return _by_widths(wiring, node)


def _gates(wiring: Wiring, _residuals: tuple[Residual, ...], node: Convolution) -> Why:
    product = wiring.makes_factor(node)
    return f"scales or shifts a map at {product}" if product else None


def _scores(wiring: Wiring, _residuals: tuple[Residual, ...], node: Convolution) -> Why:
    is_last = leads_out(wiring, node, keeps_scores)
    return "no other layer lies between it and the output" if is_last else None


def _projects_shortcut(wiring: Wiring, residuals: tuple[Residual, ...], node: Convolution) -> Why:
    for residual in residuals:
        if node.name in residual.shortcut:
            mixing = [
                other
                for other in wiring.nodes(residual.shortcut, Convolution)
                if not other.is_depthwise and not wiring.makes_factor(other)
            ]
            if mixing == [node]:
                return f"into the sum {residual.sum}, past what begins at {residual.fork}"
    return None


def _projects(wiring: Wiring, _residuals: tuple[Residual, ...], node: Convolution) -> Why:
    if node.weight.shape[0] >= node.weight.shape[1]:
        return None
    following = _next_layers(wiring, node)
    if any(isinstance(one, Activation) for one in following) or not following:
        return None
    return f"{_widths(node)}, and into {following[0].name} without activation"


def _merges(wiring: Wiring, residuals: tuple[Residual, ...], node: Convolution) -> Why:
    source = wiring.source(node)
    if not isinstance(source, Concat) or wiring.followers(source) != (node,):
        return None
    is_end = any(
        node.name in residual.branch and wiring.graph[residual.sum] in wiring.followers(node)
        for residual in residuals
    )
    return None if is_end else f"alone reads {source.name}"


_REASONS: dict[Role, Callable[[Wiring, tuple[Residual, ...], Convolution], Why]] = {
    Role.GATE: _gates,
    Role.HEAD: _scores,
    Role.SHORTCUT: _projects_shortcut,
    Role.PROJECT: _projects,
    Role.MERGE: _merges,
}
"""Why a 1x1 has a role, if it has; in the order in which roles are given."""


def _by_widths(wiring: Wiring, node: Convolution) -> tuple[Role, str]:
    out_channels, in_channels = node.weight.shape[:2]
    role = Role.MIX
    if out_channels != in_channels:
        role = Role.REDUCE if out_channels < in_channels else Role.EXPAND
    following = next(iter(wiring.followers(node)), None)
    if following is None:
        return role, _widths(node)
    return role, f"{_widths(node)}, before {_layer_words(following)}"


def _widths(node: Convolution) -> str:
    return f"{node.weight.shape[1]} -> {node.weight.shape[0]} channels"


def _layer_words(node: Node) -> str:
    """Return what a person would call a layer, such as "the 3x3 layer1.0.conv2"."""
    if isinstance(node, Convolution):
        rows, columns = node.kernel_size
        depthwise = "depthwise " if node.is_depthwise else ""
        return f"the {depthwise}{rows}x{columns} {node.place}"
    if isinstance(node, Arithmetic):
        return f"the {_SUMS.get(node.operator, node.operator)} {node.name}"
    return f"the {node.kind} {node.name}"


_SUMS = {"add": "sum", "sub": "difference", "mul": "product"}


def _next_layers(wiring: Wiring, node: Node) -> list[Node]:
    """Return the first activations, layers and sums behind a node."""
    found: list[Node] = []
    waiting, seen = [node.name], {node.name}
    while waiting:
        for name in wiring.readers[waiting.pop(0)]:
            reader = wiring.graph[name]
            if name in seen:
                continue
            seen.add(name)
            is_passed = wiring.carried(reader) is not None or isinstance(reader, Concat)
            if is_passed and not isinstance(reader, Activation):
                waiting.append(name)
            else:
                found.append(reader)
    return found


def find_triples(graph: Graph) -> tuple[Triple, ...]:
    """Return what looks like small -> large -> small across the sums of a residual network.

    A triple is a k x k, the 1x1 behind it that expands and ends a residual branch, and a 1x1 behind
    the sum that reduces and begins the next block. Shortcut projections are no part of one.
    """
    wiring = Wiring(graph)
    residuals = wiring.residuals
    shortcuts = {name for residual in residuals for name in residual.shortcut}
    return tuple(
        triple
        for residual in residuals
        for expand in _ends(wiring, residual)
        for triple in _triples(wiring, residual, expand, shortcuts)
    )


def _ends(wiring: Wiring, residual: Residual) -> Iterator[Convolution]:
    """Go through the 1x1s that expand, read a k x k, and give what a sum adds."""
    total = wiring.graph[residual.sum]
    for node in wiring.nodes(residual.branch, Convolution):
        source = wiring.source(node)
        is_behind = isinstance(source, Convolution) and not source.is_pointwise
        widens = node.is_pointwise and node.weight.shape[0] > node.weight.shape[1]
        if is_behind and widens and total in wiring.followers(node):
            yield node


def _triples(
    wiring: Wiring, residual: Residual, expand: Convolution, shortcuts: Collection[str]
) -> Iterator[Triple]:
    spatial = wiring.source(expand)
    for reduce in wiring.followers(wiring.graph[residual.sum]):
        is_reduce = (
            isinstance(reduce, Convolution)
            and reduce.is_pointwise
            and not reduce.is_linear
            and reduce.weight.shape[0] < reduce.weight.shape[1]
            and reduce.name not in shortcuts
        )
        if is_reduce:
            between = wiring.between(expand.name, reduce.name)[:-1]
            yield Triple(
                layers=(spatial.path, expand.path, reduce.path),
                channels=(spatial.shape[1], expand.shape[1], reduce.shape[1]),
                between=tuple(_step(wiring.graph[name]) for name in between),
            )


def _step(node: Node) -> str:
    """Return one word for what lies between two layers."""
    if isinstance(node, Activation):
        return node.function.name
    if isinstance(node, Arithmetic):
        return node.operator
    names: dict[type[Node], str] = {BatchNorm: "batch norm", LayerNorm: "layer norm"}
    return names.get(type(node), node.kind)
