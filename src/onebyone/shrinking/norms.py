"""Which batch norms can be folded into the convolutions before them."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from onebyone.graph import BatchNorm
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.layers import is_within
from onebyone.shrinking.reading import Reading, is_same


def find_folds(reading: Reading) -> tuple[FoldNorm, ...]:
    """Return the folds that change nothing, in the order in which the norms run.

    The norm is the only one to read what the convolution gives, each runs once, with its own
    numbers, and what a norm does besides is done by its children.
    """
    readers = reading.graph.readers()
    return tuple(
        FoldNorm(conv=reading.graph[node.inputs[0]].path, norm=node.path)
        for node in reading.graph
        if isinstance(node, BatchNorm)
        and len(readers[node.inputs[0]]) == 1
        and not reading.graph.is_output(node.inputs[0])
        and _can_fold(reading, node)
    )


def _can_fold(reading: Reading, node: BatchNorm) -> bool:
    conv = reading.graph[node.inputs[0]]
    return (
        reading.is_own(conv)
        and _is_own_norm(node, reading.modules.get(node.path))
        and _is_followed_by_children(reading, node)
        and all(reading.why_held(path) is None for path in (conv.path, node.path))
        and reading.layers.watcher((conv.path, node.path)) is None
    )


def _is_own_norm(node: BatchNorm, module: nn.Module | None) -> bool:
    """Whether a module does this norm with its own numbers; it may have no scale and shift."""
    if not isinstance(module, nn.BatchNorm2d):
        return False
    held = (module.running_mean, module.running_var, module.weight, module.bias)
    used = (node.mean, node.var, node.weight, node.bias)
    return all(one is None or is_same(two, one) for one, two in zip(held, used, strict=True))


def _is_followed_by_children(reading: Reading, node: BatchNorm) -> bool:
    """Whether all else that is done in a norm is done by its children, one after the other."""
    inner = [one for one in reading.graph if is_within(one.path, node.path) and one is not node]
    is_chain = all(
        one.inputs == (before.name,) for before, one in zip([node, *inner], inner, strict=False)
    )
    names = [one.path.removeprefix(f"{node.path}.").partition(".")[0] for one in inner]
    children = reading.modules[node.path].named_children()
    at_work = [name for name, child in children if not isinstance(child, _NOTHING)]
    return is_chain and list(dict.fromkeys(names)) == at_work


_NOTHING = (nn.Identity, _DropoutNd)
"""Modules that do nothing in evaluation."""
