"""Which values are written over others, number by number.

What adds a block's input to its result is mostly the last to read that input, and can write each
sum where it has just read. The line is in the cache then, and need not be fetched to be written to;
and there is one value less in memory.
"""

from collections.abc import Iterator, Mapping, Set

from onebyone.compiler.choose.choices import Choices
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Constant,
    Convolution,
    Graph,
    Node,
    Pad,
    Padding,
)

NOT_SHARED = (Constant, Pad)
"""Kinds with a buffer of their own: constants lie elsewhere, frames are filled as a whole."""

NO_BORDER: Padding = (0, 0, 0, 0)


def find_overwritten(
    graph: Graph,
    choices: Mapping[str, Choices],
    borders: Mapping[str, Padding],
    joined: Set[str],
) -> dict[str, str]:
    """Return the nodes that write over another's value, each with that other.

    Args:
        graph: Whose values.
        choices: How nodes run; those of a band run at the same time.
        borders: Zeros around each value that has a buffer of its own.
        joined: Names of nodes that lie in one buffer with others, and stay where they are.
    """
    readers, before = graph.readers(), _ancestors(graph)

    def is_last_reader(node: Node, name: str) -> bool:
        band = choices[node.name].band
        done = before[node.name] - set(band.names if band else ())
        return all(reader in done for reader in readers[name] if reader != node.name)

    found: dict[str, str] = {}
    for node in graph:
        for name in _read_in_step(node):
            if (
                not {name, node.name} & joined
                and _fits(graph[name], node, borders)
                and not graph.is_output(name)
                and is_last_reader(node, name)
            ):
                found[node.name] = name
                break
    return found


def _ancestors(graph: Graph) -> dict[str, frozenset[str]]:
    """Return, for every node, all that it needs: they have run when it begins."""
    found: dict[str, frozenset[str]] = {}
    for node in graph:
        found[node.name] = frozenset(node.inputs).union(*(found[name] for name in node.inputs))
    return found


def _read_in_step(node: Node) -> Iterator[str]:
    """Give the inputs of which a number is read just before one is written in the same place."""
    match node:
        case Convolution():
            yield from (name for name in node.inputs[1:] if name != node.inputs[0])
        case Arithmetic() | Activation() | BatchNorm():
            yield from node.inputs
        case _:
            return


def _fits(old: Node, new: Node, borders: Mapping[str, Padding]) -> bool:
    """Whether a value can lie where another is, which stays as it is.

    The border around it has room for that of the new one; and where the new one has none, neither
    has the old, as values without are read faster. A value of one pixel is not worth it, and may be
    computed in the caller's tensor.
    """
    room, needed = (borders.get(one.name, NO_BORDER) for one in (old, new))
    return (
        not isinstance(old, NOT_SHARED)
        and old.shape == new.shape
        and new.shape[2:] != (1, 1)
        and any(room) == any(needed)
        and all(have >= want for have, want in zip(room, needed, strict=True))
    )
