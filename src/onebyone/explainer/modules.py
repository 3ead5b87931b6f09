"""Sub-totals by module, repeated blocks told once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from onebyone.explainer.cost import CostReport, LayerCost, LayerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRow:
    """One line of a table of modules.

    Attributes:
        path: Its name in the network; "" is the network itself. The first one's if there are more.
        last_path: Path of the last module that the line stands for; `path` if that is one.
        kind: Name of its class.
        depth: How far inside it is: 0 for the network itself.
        count: How many modules the line stands for; the numbers are those of all together.
        params: Learnable numbers.
        macs: Multiply-adds.
        pointwise_macs: Of these, the 1x1 convolutions'.
        is_rest: Whether the modules within it have lines of their own, and this one has only what
            lies directly in it.
    """

    path: str
    last_path: str
    kind: str
    depth: int
    count: int
    params: int
    macs: int
    pointwise_macs: int
    is_rest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCost:
    """What one module costs, all within it included.

    Attributes:
        path: Its name in the network; "" is the network itself.
        kind: Name of its class.
        params: Learnable numbers, each counted once, where it is first met.
        macs: Multiply-adds of the layers within it.
        pointwise_macs: Of these, the 1x1 convolutions'.
        repeats: How many modules one after another are this one's like, itself included: same
            class, same layers, same shapes. `path` is then the first one's, and the numbers are one
            module's.
        last_path: Path of the last of them; `path` where there is one.
        children: Modules within it, in the order in which they run; those with neither parameters
            nor multiply-adds are left out.
    """

    path: str
    kind: str
    params: int
    macs: int
    pointwise_macs: int
    repeats: int
    last_path: str
    children: tuple["ModuleCost", ...]

    def rows(self, depth: int) -> tuple[ModuleRow, ...]:
        """Return lines for a table, of modules as far inside as `depth`, whose sum is the total.

        A module has one line, all within it included, if it is `depth` inside or has no modules
        within it. One that is less far inside has a line only where something lies directly in it,
        such as a parameter of its own: that alone is its line's, and `is_rest` says so.

        Args:
            depth: 0 is one line for the network, 1 its children, and so on.
        """
        return tuple(_rows(self, depth, level=0, count=1))


def group_by_module(network: nn.Module, cost: CostReport) -> ModuleCost:
    """Sum what a network's layers cost by the modules that they are in.

    Layers that no module of the network is known for are the network's own. A module that stands at
    several places is the first one's, and so are its runs.

    Args:
        network: That `cost` was counted for.
        cost: What its layers cost.
    """
    modules = dict(network.named_modules())
    params: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        path = name.rpartition(".")[0]
        params[path] = params.get(path, 0) + parameter.numel()
    layers: dict[str, list[tuple[int, LayerCost]]] = {}
    for number, layer in enumerate(cost.layers):
        path = layer.path if layer.path in modules else ""
        layers.setdefault(path, []).append((number, layer))
    return _group("", modules, params, layers).cost


@dataclass(frozen=True, slots=True)
class _Group:
    """A module and what tells it from others.

    Attributes:
        cost: What it costs.
        likeness: Equal for modules that are each other's like.
        first: Number of the first layer in it among those of the network; -1 if there is none.
    """

    cost: ModuleCost
    likeness: tuple[object, ...]
    first: int


def _group(
    path: str,
    modules: Mapping[str, nn.Module],
    params: Mapping[str, int],
    layers: Mapping[str, Sequence[tuple[int, LayerCost]]],
) -> _Group:
    """Sum up one module, and those within it."""
    module = modules[path]
    found = {
        name: _group(inner, modules, params, layers)
        for name, _ in module.named_children()
        if (inner := f"{path}.{name}" if path else name) in modules
    }
    # In a shared module's second place there is nothing left.
    children = {name: one for name, one in found.items() if one.cost.params or one.cost.macs}
    own = [layer for _, layer in layers.get(path, ())]
    pointwise = sum(layer.macs for layer in own if layer.kind is LayerKind.POINTWISE)
    costs = [child.cost for child in children.values()]
    kind = type(module).__name__
    own_params = params.get(path, 0)
    cost = ModuleCost(
        path=path,
        kind=kind,
        params=own_params + sum(child.params for child in costs),
        macs=sum(layer.macs for layer in own) + sum(child.macs for child in costs),
        pointwise_macs=pointwise + sum(child.pointwise_macs for child in costs),
        repeats=1,
        last_path=path,
        children=_join_repeats(_in_order(list(children.values()))),
    )
    inner = tuple((name, child.likeness) for name, child in children.items())
    numbers = [number for number, _ in layers.get(path, ())]
    numbers += [child.first for child in children.values() if child.first >= 0]
    return _Group(
        cost=cost,
        likeness=(kind, own_params, tuple(map(_likeness, own)), inner),
        first=min(numbers, default=-1),
    )


def _likeness(layer: LayerCost) -> LayerCost:
    """Return a layer without its name."""
    return replace(layer, name="", path="")


def _in_order(children: Sequence[_Group]) -> list[_Group]:
    """Sort modules as they run; one without layers, such as a norm, stays behind its neighbour."""
    keys: list[int] = []
    for child in children:
        keys.append(child.first if child.first >= 0 else keys[-1] if keys else -1)
    order = sorted(range(len(children)), key=keys.__getitem__)
    return [children[index] for index in order]


def _join_repeats(children: Sequence[_Group]) -> tuple[ModuleCost, ...]:
    """Tell modules that are each other's like, one behind another, once."""
    runs = (list(run) for _, run in groupby(children, key=lambda child: child.likeness))
    return tuple(
        replace(run[0].cost, repeats=len(run), last_path=run[-1].cost.path) for run in runs
    )


def _rows(module: ModuleCost, depth: int, *, level: int, count: int) -> Iterator[ModuleRow]:
    """Give the lines of one module, of which there are `count`."""
    is_rest = level < depth and bool(module.children)
    inner = module.children if is_rest else ()

    def total(part: str) -> int:
        within = sum(getattr(child, part) * child.repeats for child in inner)
        return count * (getattr(module, part) - within)

    row = ModuleRow(
        path=module.path,
        last_path=module.last_path,
        kind=module.kind,
        depth=level,
        count=count,
        params=total("params"),
        macs=total("macs"),
        pointwise_macs=total("pointwise_macs"),
        is_rest=is_rest,
    )
    if row.params or row.macs or not is_rest:
        yield row
    for child in inner:
        yield from _rows(child, depth, level=level + 1, count=count * child.repeats)
