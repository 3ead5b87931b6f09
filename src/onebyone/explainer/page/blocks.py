"""The blocks that a network's layers lie in, and which of them are alike."""

from collections.abc import Iterable
from dataclasses import dataclass

from onebyone.explainer.modules import ModuleCost
from onebyone.explainer.page.rows import Row

_CONTAINERS = {"Sequential", "ModuleList", "ModuleDict"}


@dataclass(frozen=True, slots=True)
class Block:
    """Layers of one block, one after another.

    Attributes:
        path: Module that it is; a layer that lies in no block is its own.
        kind: Name of its class; "" where that is not known.
        run: Number of the run of like blocks that it belongs to.
        rows: Its layers.
    """

    path: str
    kind: str
    run: int
    rows: tuple[Row, ...]


def blocks_of(modules: ModuleCost, rows: Iterable[Row]) -> list[Block]:
    """Divide the layers into blocks, in order.

    A block is the outermost module that does not merely hold others: no `Sequential`, nor a module
    that holds most of the network or several blocks alike.
    """
    rows = list(rows)
    found: dict[tuple[str, ...], tuple[str, int]] = {}
    _find_blocks(modules, [_parts(row.layer.path) for row in rows], found, modules.macs)
    blocks: list[Block] = []
    for row in rows:
        parts = _parts(row.layer.path)
        block = next((parts[:n] for n in range(len(parts) + 1) if parts[:n] in found), parts)
        kind, run = found.get(block, ("", -row.number))
        path = ".".join(block)
        if blocks and (blocks[-1].path, blocks[-1].run) == (path, run):
            blocks[-1] = Block(path, kind, run, (*blocks[-1].rows, row))
        else:
            blocks.append(Block(path, kind, run, (row,)))
    return blocks


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def _find_blocks(
    module: ModuleCost,
    paths: list[tuple[str, ...]],
    found: dict[tuple[str, ...], tuple[str, int]],
    total_macs: int,
) -> None:
    """Note the blocks within a module, each with its class and its run, in `found`."""
    depth = len(_parts(module.path))
    inside = [path for path in paths if path[:depth] == _parts(module.path) and len(path) > depth]
    child, by_path = None, {_parts(one.path): one for one in module.children}
    for path in dict.fromkeys(path[: depth + 1] for path in inside):
        # Modules that are like the one before them have no entry of their own.
        child = by_path.get(path, child)
        if child is None or child.macs == 0:
            continue
        if path == _parts(child.path) and not _is_block(child, total_macs):
            _find_blocks(child, inside, found, total_macs)
        elif _is_block(child, total_macs):
            run = found[_parts(child.path)][1] if path != _parts(child.path) else len(found)
            found[path] = (child.kind, run)


def _is_block(module: ModuleCost, total_macs: int) -> bool:
    is_most = module.repeats == 1 and 2 * module.macs > total_macs and bool(module.children)
    return not (module.kind in _CONTAINERS or is_most or _holds_blocks(module))


def _holds_blocks(module: ModuleCost) -> bool:
    """Whether modules of two layers or more, alike and next to each other, lie in a module."""
    return any(
        (child.repeats > 1 and _layers(child) > 1)
        or (child.kind in _CONTAINERS and _holds_blocks(child))
        for child in module.children
    )


def _layers(module: ModuleCost) -> int:
    """Return how many modules within a module, or itself, do work of their own."""
    if not module.children:
        return int(module.macs > 0)
    return sum(child.repeats * _layers(child) for child in module.children)
