"""Which ranks and widths are tried: those that vectors like, and few enough to time them all."""

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from onebyone.errors import ShrinkError
from onebyone.nn.edits import Factorise
from onebyone.shrinking.changes import Change
from onebyone.shrinking.sites import Site

Align = int | Literal["auto"]

MOST_RANKS = 8
"""Values of one rank that are tried."""

MOST_CORES = 5
"""Values of each of a bottleneck's two ranks."""

MOST_WIDTHS = 5
"""Values of a hidden width, besides the full one."""

EAGER_ALIGN = 8
"""PyTorch's kernels are told apart by multiples of eight numbers, whatever the vectors."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Say which ranks and widths are tried.

    Attributes:
        align: What numbers of channels are multiples of.
    """

    align: int

    def factors(self, site: Site) -> tuple[Factorise, ...]:
        """Return what may come in the place of a layer: all with fewer multiply-adds."""
        ins = self._multiples(site.in_channels, MOST_RANKS)
        outs = self._multiples(site.out_channels, MOST_RANKS)
        least = min(site.in_channels, site.out_channels)
        offered = [_expand(site, rank) for rank in outs if rank < least * prod(site.kernel_size)]
        if site.kernel_size != (1, 1):
            offered += [_reduce(site, rank) for rank in ins]
            offered += [
                Factorise(conv=site.path, form="bottleneck", ranks=(first, second))
                for first in self._multiples(site.in_channels, MOST_CORES)
                for second in self._multiples(site.out_channels, MOST_CORES)
            ]
        return tuple(edit for edit in offered if Change(site=site, edit=edit).macs < site.macs)

    def widths(self, channels: int) -> tuple[int, ...]:
        """Return what may be left of a hidden width, widest first."""
        return tuple(reversed(self._multiples(channels, MOST_WIDTHS)))

    def _multiples(self, below: int, most: int) -> list[int]:
        """Return multiples of the alignment below a number, at most so many, evenly by ratio."""
        found = list(range(self.align, below, self.align))
        if len(found) <= most:
            return found
        wanted = np.geomspace(found[0], found[-1], most)
        return sorted({found[int(np.abs(np.array(found) - one).argmin())] for one in wanted})


def make_offer(align: Align, runtime: str) -> Offer:
    """Return what is tried for networks that will run somewhere.

    Args:
        align: What numbers of channels are multiples of; "auto" for what the runtime's vectors
            like.
        runtime: Where.

    Raises:
        ShrinkError: If `align` is neither.
    """
    if align == "auto":
        from onebyone.compiler.target import host_target

        return Offer(EAGER_ALIGN if runtime == "eager" else max(host_target().lanes, EAGER_ALIGN))
    if type(align) is not int or align < 1:
        raise ShrinkError(f"`align` (={align!r}) must be a whole number from 1 on, or 'auto'")
    return Offer(align)


def _expand(site: Site, rank: int) -> Factorise:
    return Factorise(conv=site.path, form="expand", ranks=(rank,))


def _reduce(site: Site, rank: int) -> Factorise:
    return Factorise(conv=site.path, form="reduce", ranks=(rank,))
