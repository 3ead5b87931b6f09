"""How a tensor shows the numbers of a node: which of its dimensions holds which of theirs.

Views and permutations move no numbers. Instead of nodes they give a `Layout`: for every dimension
of the tensor, the factors ("atoms") of the node's dimensions that it runs through, slowest first.
Of a node `(N, C, H, W)`, a layer on NHWC sees `[n][h][w][c]`, a linear layer on pixels
`[n h w][c]`, and a channel shuffle is `[n][c1 c0][h][w]`. A dimension of size 1 has no atoms, which
lets `(N, C)`, `(N, C, 1, 1)` and `(N, 1, 1, C)` be the same thing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

Shape = tuple[int, ...]
REPEATED = -1


@dataclass(frozen=True, slots=True)
class Atom:
    """One factor of a dimension of a node: it adds `stride * (0 .. size - 1)` to the index there.

    `dim` is `REPEATED` for numbers that are only shown several times, as `Tensor.expand` does.
    """

    dim: int
    stride: int
    size: int


Group = tuple[Atom, ...]
Layout = tuple[Group, ...]


def whole(dim: int, size: int) -> Group:
    """Return the atoms of a dimension of a node that is shown as it is."""
    return (Atom(dim, 1, size),) if size != 1 else ()


def plain(shape: Shape) -> Layout:
    """Return the layout of a node's value as it is."""
    return tuple(whole(dim, size) for dim, size in enumerate(shape))


def size_of(group: Group) -> int:
    """Return the size of a dimension."""
    return prod(atom.size for atom in group)


def shape_of(layout: Layout) -> Shape:
    """Return the shape of the tensor."""
    return tuple(map(size_of, layout))


def merged(atoms: Iterable[Atom]) -> Group:
    """Join neighbours that are parts of one dimension in their order."""
    found: list[Atom] = []
    for atom in atoms:
        last = found[-1] if found else None
        if last is not None and last.dim == atom.dim and last.stride == atom.stride * atom.size:
            found[-1] = Atom(atom.dim, atom.stride, last.size * atom.size)
        else:
            found.append(atom)
    return tuple(found)


def regrouped(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """Show the same numbers in another shape, as `Tensor.view` does; None where sizes don't divide.

    Example:
        >>> shape_of(regrouped(plain((2, 6, 5, 5)), (2, 3, 2, 25)))
        (2, 3, 2, 25)
        >>> regrouped(plain((2, 6)), (3, 4)) is None
        True
    """
    if 0 in shape:
        return None
    left = [atom for group in layout for atom in group][::-1]
    groups: list[Group] = []
    for size in shape:
        taken: list[Atom] = []
        while (missing := size // size_of(tuple(taken))) > 1:
            atom = left.pop()
            if missing % atom.size == 0:
                taken.append(atom)
            elif atom.size % missing == 0:
                inner = atom.size // missing
                taken.append(Atom(atom.dim, atom.stride * inner, missing))
                left.append(replace(atom, size=inner))
            else:
                return None
        if size_of(tuple(taken)) != size:
            return None
        groups.append(merged(taken))
    return None if left else tuple(groups)


def permuted(layout: Layout, dims: Sequence[int]) -> Layout:
    """Show the dimensions in another order, as `Tensor.permute` does."""
    return tuple(layout[dim] for dim in dims)


def expanded(layout: Layout, shape: Sequence[int]) -> Layout:
    """Repeat dimensions of size 1, as `Tensor.expand` does; -1 leaves one as it is."""
    padded = ((),) * (len(shape) - len(layout)) + layout
    return tuple(
        group if size in (-1, size_of(group)) else (Atom(REPEATED, 0, size),)
        for group, size in zip(padded, shape, strict=True)
    )


def without_repeats(layout: Layout) -> Layout:
    """Shrink to size 1 the dimensions that only repeat numbers."""
    return tuple(() if all(a.dim == REPEATED for a in group) else group for group in layout)


def has_repeats(layout: Layout) -> bool:
    """Whether numbers are shown more than once."""
    return any(atom.dim == REPEATED for group in layout for atom in group)


def in_order(layout: Layout) -> list[Atom]:
    """Return the atoms as they follow each other in the node's value, slowest first."""
    atoms = (atom for group in layout for atom in group if atom.dim != REPEATED)
    return sorted(atoms, key=lambda atom: (atom.dim, -atom.stride))
