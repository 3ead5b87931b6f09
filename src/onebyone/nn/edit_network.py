"""Edits, done: the structure of a network changes in place, and new layers start at random."""

import copy
from collections.abc import Callable, Mapping

from torch import nn

from onebyone.errors import ShapeError, located
from onebyone.nn.edits import Edit, Factorise, FoldNorm, Form, Narrow
from onebyone.nn.fold import fold_batch_norm

FULL_RANKS: Mapping[Form, Callable[[nn.Conv2d], tuple[int, ...]]] = {
    "reduce": lambda conv: (conv.in_channels,),
    "expand": lambda conv: (conv.out_channels,),
    "bottleneck": lambda conv: (conv.in_channels, conv.out_channels),
}
"""The largest ranks of each form: more would add work, and nothing that can be computed."""


def apply_edit(network: nn.Module, edit: Edit) -> None:
    """Change one layer of a network in place.

    A batch norm is folded with its numbers; new convolutions start at random. They are ordinary
    `nn.Conv2d`, a narrowed one of its own class, on the old one's device and in its mode. The one
    that gives the output always has a bias.

    Args:
        network: A copy of the user's; it may be on the meta device.
        edit: What to do.

    Raises:
        ShapeError: If there is no such layer, or the edit does not fit it.
    """
    with located(_shown(edit.conv) or "the network itself"):
        conv = _conv_at(network, edit.conv)
        match edit:
            case FoldNorm():
                _fold(network, conv, edit)
            case Factorise():
                put_module(network, edit.conv, _factorised(conv, edit))
            case Narrow():
                put_module(network, edit.conv, _narrowed(conv, edit))


def put_module(network: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of another."""
    parent, _, name = path.rpartition(".")
    network.get_submodule(parent).register_module(name, module)


def _conv_at(network: nn.Module, path: str) -> nn.Conv2d:
    found = _module_at(network, path)
    if not isinstance(found, nn.Conv2d):
        what = "nothing of that name" if found is None else f"a {type(found).__name__}"
        raise ShapeError(f"a convolution was wanted here, and the network has {what}")
    if found is network:
        raise ShapeError("it is one layer, with no place for another; put it into an nn.Sequential")
    return found


def _module_at(network: nn.Module, path: str) -> nn.Module | None:
    """Look a path up among the modules alone: files may name any attribute."""
    return dict(network.named_modules()).get(path)


def _shown(path: str) -> str:
    """Return a path, from a file perhaps, as it can stand in one line."""
    return repr(path)[1:-1]


def _fold(network: nn.Module, conv: nn.Conv2d, edit: FoldNorm) -> None:
    norm = _module_at(network, edit.norm)
    if not isinstance(norm, nn.BatchNorm2d):
        what = "nothing of that name" if norm is None else f"a {type(norm).__name__}"
        raise ShapeError(
            f"a batch norm was wanted at {_shown(edit.norm)}, to be folded into this layer, and "
            f"the network has {what}"
        )
    if norm.num_features != conv.out_channels:
        raise ShapeError(
            f"{edit.norm} has {norm.num_features} channels, and this layer gives "
            f"{conv.out_channels}; it cannot be folded into it"
        )
    put_module(network, edit.conv, fold_batch_norm(conv, norm))
    # Some norms hold an activation as well, which stays.
    rest = list(norm.children())
    stays = nn.Sequential(*rest) if rest else nn.Identity()
    put_module(network, edit.norm, stays.train(norm.training))


def _factorised(conv: nn.Conv2d, edit: Factorise) -> nn.Sequential:
    if conv.groups != 1:
        raise ShapeError(f"it has {conv.groups} groups, and only one can be factorised")
    if conv.padding_mode != "zeros":
        raise ShapeError(f"it pads by {conv.padding_mode}, and only zeros can be factorised")
    _check_ranks(conv, edit)
    before, after = conv.in_channels, conv.out_channels
    parts: list[nn.Conv2d] = []
    if edit.form != "expand":
        parts.append(_pointwise(conv, before, edit.ranks[0], bias=False))
        before = edit.ranks[0]
    middle = after if edit.form == "reduce" else edit.ranks[-1]
    parts.append(_like(conv, before, middle, bias=edit.form == "reduce"))
    if edit.form != "reduce":
        parts.append(_pointwise(conv, middle, after, bias=True))
    return nn.Sequential(*parts).train(conv.training)


def _check_ranks(conv: nn.Conv2d, edit: Factorise) -> None:
    if edit.form not in FULL_RANKS:
        raise ShapeError(f"`form` (={edit.form!r}) must be one of {', '.join(FULL_RANKS)}")
    largest = FULL_RANKS[edit.form](conv)
    if len(edit.ranks) != len(largest):
        raise ShapeError(
            f"`ranks` (={edit.ranks}) must be {len(largest)}, as the form {edit.form!r} has"
        )
    if not all(1 <= rank <= most for rank, most in zip(edit.ranks, largest, strict=True)):
        wanted = " and ".join(f"1..{most}" for most in largest)
        raise ShapeError(f"`ranks` (={edit.ranks}) must be in {wanted}")


def _narrowed(conv: nn.Conv2d, edit: Narrow) -> nn.Conv2d:
    before, after = edit.in_channels, edit.out_channels
    is_depthwise = conv.groups == conv.in_channels == conv.out_channels
    if conv.groups != 1 and not (is_depthwise and before == after):
        raise ShapeError(f"it has {conv.groups} groups, and cannot be {before} → {after} channels")
    if not (1 <= before <= conv.in_channels and 1 <= after <= conv.out_channels):
        raise ShapeError(
            f"it is {conv.in_channels} → {conv.out_channels} channels, and cannot be narrowed to "
            f"{before} → {after}"
        )
    narrow = copy.copy(conv)  # of its own class, which may pad in its own way
    narrow._parameters = {}  # pyright: ignore[reportPrivateUsage]
    like = _like(conv, before, after, bias=True)
    narrow.weight, narrow.bias = like.weight, like.bias
    narrow.in_channels, narrow.out_channels, narrow.groups = before, after, like.groups
    return narrow


def _like(conv: nn.Conv2d, before: int, after: int, *, bias: bool) -> nn.Conv2d:
    """Return a convolution that moves over the image as another does."""
    return nn.Conv2d(
        before,
        after,
        conv.kernel_size,  # pyright: ignore[reportArgumentType]
        stride=conv.stride,  # pyright: ignore[reportArgumentType]
        padding=conv.padding,  # pyright: ignore[reportArgumentType]
        dilation=conv.dilation,  # pyright: ignore[reportArgumentType]
        groups=1 if conv.groups == 1 else before,
        bias=bias,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )


def _pointwise(conv: nn.Conv2d, before: int, after: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(
        before, after, 1, bias=bias, device=conv.weight.device, dtype=conv.weight.dtype
    )
