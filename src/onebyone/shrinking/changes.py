"""What may happen to one layer, what is left of it, and what that costs in multiply-adds."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import nn

from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Edit, Factorise, Narrow
from onebyone.shrinking.sites import Site

PLACE = "layer"
"""What a layer is called where it stands alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A layer, and what becomes of it.

    Attributes:
        site: The layer as it is.
        edit: What is done to it; None if it stays.
    """

    site: Site
    edit: Factorise | Narrow | None = None

    @property
    def in_channels(self) -> int:
        """Channels that it reads then."""
        return self.edit.in_channels if isinstance(self.edit, Narrow) else self.site.in_channels

    @property
    def out_channels(self) -> int:
        """Channels that it gives then."""
        return self.edit.out_channels if isinstance(self.edit, Narrow) else self.site.out_channels

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(pixels * weights for pixels, weights in _parts(self))

    @property
    def in_shape(self) -> tuple[int, ...]:
        """`(N, C, H, W)` of what it reads then."""
        batch, _, *size = self.site.in_shape
        return (batch, self.in_channels, *size)

    def build(self) -> nn.Module:
        """Build what is left of the layer, from a random start."""
        holder = nn.Sequential(OrderedDict({PLACE: _as_it_is(self.site)}))
        if isinstance(self.edit, Factorise):
            apply_edit(holder, Factorise(conv=PLACE, form=self.edit.form, ranks=self.edit.ranks))
        elif isinstance(self.edit, Narrow):
            apply_edit(
                holder,
                Narrow(conv=PLACE, in_channels=self.in_channels, out_channels=self.out_channels),
            )
        return holder.eval()

    @property
    def as_it_was(self) -> "Change":
        """The layer, nothing done to it."""
        return Change(site=self.site)

    @property
    def words(self) -> str:
        """What it is made of then, such as "1x1 64→16, 3x3 16→64"."""
        kernel = "x".join(map(str, self.site.kernel_size))
        return ", ".join(
            f"{kernel if is_kernel else '1x1'} {before}→{after}"
            for is_kernel, before, after in _chain(self)
        )


def _as_it_is(site: Site) -> nn.Conv2d:
    return nn.Conv2d(
        site.in_channels,
        site.out_channels,
        site.kernel_size,
        stride=site.stride,
        padding=site.padding,
        dilation=site.dilation,
        groups=site.groups,
        bias=site.has_bias,
    )


def _chain(change: Change) -> list[tuple[bool, int, int]]:
    """Return the convolutions in order: whether it has the kernel, and its channels."""
    before, after = change.in_channels, change.out_channels
    if not isinstance(change.edit, Factorise):
        return [(True, before, after)]
    first, last = change.edit.ranks[0], change.edit.ranks[-1]
    match change.edit.form:
        case "reduce":
            return [(False, before, first), (True, first, after)]
        case "expand":
            return [(True, before, first), (False, first, after)]
        case "bottleneck":
            return [(False, before, first), (True, first, last), (False, last, after)]


def _parts(change: Change) -> Iterator[tuple[int, int]]:
    """Give the pixels and the weights of each convolution; the stride comes with the kernel."""
    pixels = prod(change.site.in_shape[2:])
    for is_kernel, before, after in _chain(change):
        if is_kernel:
            pixels = prod(change.site.out_shape[2:])
            if change.site.groups > 1:
                before = change.site.in_channels // change.site.groups  # as many in each group
        yield pixels, before * after * (prod(change.site.kernel_size) if is_kernel else 1)


def edits_of(changes: "tuple[Change, ...]") -> tuple[Edit, ...]:
    """Return what is done, in order; layers that stay are left out."""
    return tuple(change.edit for change in changes if change.edit is not None)
