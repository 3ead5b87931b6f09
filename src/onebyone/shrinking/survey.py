"""What could be changed in a network, what is left alone, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from onebyone.explainer.cost import count_graph
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.hidden import HiddenGroup as HiddenGroup
from onebyone.shrinking.hidden import find_groups
from onebyone.shrinking.norms import find_folds
from onebyone.shrinking.reading import read_network
from onebyone.shrinking.sites import Site as Site
from onebyone.shrinking.sites import find_sites, left_alone
from onebyone.shrinking.trial import find_rigid


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What could be changed in a network.

    Attributes:
        folds: Batch norms that can be folded, in the order in which they run.
        sites: Convolutions that may be changed, in the order in which they run.
        groups: Widths between two sites that nobody else reads, in the order of their producers;
            norms within them are among `folds`.
        left_alone: Why each convolution or linear layer that is no site is none, by path.
        unproven: Why there is no group behind each other site, by path; empty if there are none
            because the graph could not be read, which `notes` tell.
        order: Paths of the convolutions and batch norms that run, in that order.
        macs: Multiply-adds of the whole network for one image.
        notes: What could not be read of the network, and why.
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
    """Read what could be changed in a network, as it is in evaluation.

    Where the graph is not that of every image, there are sites and neither folds nor groups.

    Args:
        network: The network; it is left unchanged.
        example: Images that it takes, `(N, C, H, W)`; the first is looked at.
        keep: Paths of layers, or of modules with all that is in them, that must stay as they are.

    Raises:
        ShrinkError: If the network needs more than images, or cannot be copied.
        ModelError: If it does not run on the example.
        UnknownNameError: If `keep` names what the network does not have.
    """
    reading = read_network(network, example, keep)
    sites = find_sites(reading)
    folds, groups, unproven = (), (), {}
    if reading.is_proven:
        folds = find_folds(reading)
        groups, unproven = find_groups(reading, sites, folds)
        rigid = {group.producer for group in find_rigid(reading, folds, groups)}
        groups = tuple(group for group in groups if group.producer not in rigid)
        unproven |= dict.fromkeys(rigid, "counted by the network itself")
    return Survey(
        folds=folds,
        sites=sites,
        groups=groups,
        left_alone=left_alone(reading, sites),
        unproven=unproven,
        order=tuple(path for path, use in reading.uses.items() if use.shapes),
        macs=count_graph(reading.graph, params=0).macs,
        notes=reading.notes,
    )
