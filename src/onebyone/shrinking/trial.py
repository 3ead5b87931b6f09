"""Whether a network runs as it did once its hidden widths are narrower: it is tried.

What a graph cannot show is a number of channels that stands in the network's own code, such as
`x.view(-1, 64, 7, 7)`: it holds for the width that there was.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onebyone.errors import OneByOneError
from onebyone.explainer.follow import as_evaluated
from onebyone.graph import Graph, capture
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Edit, FoldNorm, Narrow
from onebyone.shrinking.hidden import HiddenGroup
from onebyone.shrinking.reading import Reading


def find_rigid(
    reading: Reading, folds: Collection[FoldNorm], groups: Sequence[HiddenGroup]
) -> tuple[HiddenGroup, ...]:
    """Return the groups that cannot be narrower, since the network then does something else.

    Args:
        reading: Of the network, proven.
        folds: What is folded before widths change.
        groups: Proven on the graph.
    """
    if not groups:
        return ()
    folded = _edited(reading.network, folds)
    wanted = _course(capture(folded, (reading.image,)).graph)

    def search(groups: Sequence[HiddenGroup]) -> tuple[HiddenGroup, ...]:
        """Halve what does not run as wanted until it is one group."""
        narrow = _edited(folded, _narrower(folded, groups))
        if _runs(narrow, reading.image, wanted):
            return ()
        half = len(groups) // 2
        return (*search(groups[:half]), *search(groups[half:])) if half else tuple(groups)

    return search(groups)


def _edited(network: Callable[..., Any], edits: Iterable[Edit]) -> nn.Module:
    """Return a copy with changed layers, which shares the parameters of all others."""
    copied = as_evaluated(network)
    assert isinstance(copied, nn.Module)
    with torch.random.fork_rng(devices=[]):  # new layers start at random
        for edit in edits:
            apply_edit(copied, edit)
    return copied


def _runs(network: nn.Module, image: Tensor, wanted: Sequence[object]) -> bool:
    """Whether a network runs, and does what was wanted."""
    try:
        return _course(capture(network, (image,)).graph) == wanted
    except OneByOneError:
        return False


def _narrower(network: nn.Module, groups: Collection[HiddenGroup]) -> list[Narrow]:
    """Return the edits that take one channel from each group."""
    giving = {path for group in groups for path in (group.producer, *_between(group))}
    reading = {path for group in groups for path in (group.consumer, *_between(group))}
    edits: list[Narrow] = []
    for path in sorted(giving | reading):
        conv = network.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        edits.append(
            Narrow(
                conv=path,
                in_channels=conv.in_channels - (path in reading),
                out_channels=conv.out_channels - (path in giving),
            )
        )
    return edits


def _between(group: HiddenGroup) -> list[str]:
    return [site.path for site in group.depthwise]


def _course(graph: Graph) -> list[object]:
    """Return what a graph does, in order, and the shapes that come out."""
    nodes = [(node.kind, node.path) for node in graph]
    return [*nodes, *(graph[ref.name].shape for ref in graph.outputs)]
