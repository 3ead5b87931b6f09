"""What may be changed in a network, read from its graph; the network stays as it is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from onebyone.errors import UnknownNameError, did_you_mean
from onebyone.explainer.cost import count_graph
from onebyone.explainer.follow import Followed, follow
from onebyone.graph import BatchNorm, Convolution
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.hidden import HiddenGroup as HiddenGroup
from onebyone.shrinking.hidden import read_groups
from onebyone.shrinking.sites import Layers, read_sites
from onebyone.shrinking.sites import Site as Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What may be changed in a network.

    Attributes:
        folds: Batch norms that may become part of the convolution before them.
        sites: Layers that may be changed, in the order in which they run.
        groups: Widths between two of them that nobody else reads.
        left_alone: Why other convolutions and linear layers stay as they are, by path.
        unproven: Why a width stays as it is, by the path of the layer that gives it.
        order: Paths of all convolutions, in the order in which they run.
        macs: Multiply-adds of the whole network for one image.
        notes: What could not be read, or only in part, and why.
    """

    folds: tuple[FoldNorm, ...]
    sites: tuple[Site, ...]
    groups: tuple[HiddenGroup, ...]
    left_alone: Mapping[str, str]
    unproven: Mapping[str, str]
    order: tuple[str, ...]
    macs: int
    notes: tuple[str, ...] = ()


def survey(network: nn.Module, example: Tensor, keep: Collection[str] = ()) -> Survey:
    """Return what may be changed in a network.

    Args:
        network: In any mode; it is read as in evaluation.
        example: What it reads, `(N, C, H, W)`.
        keep: Paths of layers that stay as they are, or of modules all of whose layers do.

    Raises:
        ModelError: If the network does not run on the example.
        UnknownNameError: If there is nothing of a name in `keep`.
    """
    followed = follow(network, (example,))
    layers = Layers(network, followed.graph)
    sites, left_alone = read_sites(layers, _kept_paths(layers, keep))
    groups, unproven = [], {}
    if followed.is_whole:
        groups, unproven = read_groups(layers, {site.path: site for site in sites})
    return Survey(
        folds=tuple(_folds(followed, layers)),
        sites=tuple(sites),
        groups=tuple(groups),
        left_alone=left_alone,
        unproven=unproven,
        order=tuple(layers.calls),
        macs=count_graph(followed.graph, params=0).macs // len(example),
        notes=followed.notes,
    )


def _kept_paths(layers: Layers, keep: Collection[str]) -> set[str]:
    """Return the paths of all modules that are named, and of those within them."""
    found: set[str] = set()
    for name in keep:
        if name not in layers.modules or not name:
            raise UnknownNameError(
                f"no layer {name!r} to keep{did_you_mean(name, layers.modules) or ''}"
            )
        found |= {path for path in layers.modules if f"{path}.".startswith(f"{name}.")}
    return found


def _folds(followed: Followed, layers: Layers) -> list[FoldNorm]:
    """Return the norms behind a convolution that nobody else reads."""
    if not followed.is_whole:
        return []
    graph, readers = followed.graph, followed.graph.readers()
    found: list[FoldNorm] = []
    for node in graph:
        before = graph[node.inputs[0]] if isinstance(node, BatchNorm) else None
        if not isinstance(before, Convolution) or graph.is_output(before.name):
            continue
        is_alone = len(readers[before.name]) == 1
        if is_alone and _may_fold(layers, before, node.path):
            found.append(FoldNorm(conv=before.path, norm=node.path))
    return found


def _may_fold(layers: Layers, conv: Convolution, path: str) -> bool:
    norm = layers.modules.get(path)
    uses = sum(isinstance(node, BatchNorm) and node.path == path for node in layers.graph)
    return (
        conv.path in layers.modules
        and not layers.why_not_changed(conv.path)
        and isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
        and uses == 1
        and not layers.has_hooks(path)
    )
