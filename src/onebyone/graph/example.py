"""What a user hands over: a network, and an example of its arguments."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from onebyone.errors import ModelError, ShapeError

_OTHER_ARRAYS = ("numpy.ndarray", "PIL.Image.Image", "pandas.DataFrame")
"""What people have in hand where a tensor is wanted."""


def check_network(model: object) -> Callable[..., Any]:
    """Return a network or a function as it is.

    Of what `torch.compile` has wrapped it is the network inside.

    Raises:
        ModelError: If it is neither; says what came.
    """
    if isinstance(model, str):
        cure = f"; onebyone.load_model({model!r}) returns one of the zoo with its card"
        raise ModelError(f"{WANTED_MODEL}; got the string {model!r}{cure}")
    if isinstance(model, type):
        raise ModelError(
            f"{WANTED_MODEL}; got the class {model.__name__}; make one of it: "
            f"{model.__name__}(...).eval()"
        )
    if not callable(model):
        raise ModelError(f"{WANTED_MODEL}; got {_shown(model)}")
    return getattr(model, "_orig_mod", model)


WANTED_MODEL = "`model` must be a network (a torch.nn.Module) or a function of tensors"


def example_arguments(
    example: object, kwargs: object = None, *, devices: Collection[str] = ("cpu",)
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments, by position and by name, that an example stands for.

    Args:
        example: A tuple of arguments, or the only one.
        kwargs: Arguments by name, or None.
        devices: Where tensors may be.

    Raises:
        ShapeError: If there are no tensors in them, or some that are elsewhere, or empty.
    """
    args = example if isinstance(example, tuple) else (example,)
    if kwargs is None:
        kwargs = {}
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise ShapeError(
            f"`kwargs` must be a dict of arguments by name; got {_shown(kwargs)}; several "
            "arguments by position are a tuple, (a, b)"
        )
    named = dict(kwargs)
    leaves = tree_leaves((args, named))
    for leaf in leaves:
        _check_leaf(leaf, devices)
    if not any(isinstance(leaf, Tensor) for leaf in leaves):
        raise ShapeError(f"{_WANTED_EXAMPLE}; got {_shown(example)}, without a tensor in it")
    return args, named


_WANTED_EXAMPLE = (
    "`example` must be a tensor, or a tuple of the arguments that the network is called with"
)


def _check_leaf(leaf: object, devices: Collection[str]) -> None:
    if not isinstance(leaf, Tensor):
        kind = f"{type(leaf).__module__}.{type(leaf).__qualname__}"
        if kind in _OTHER_ARRAYS:
            raise ShapeError(f"{_WANTED_EXAMPLE}; got {_shown(leaf)}; make a tensor of it first")
        return
    if leaf.device.type not in devices:
        raise ShapeError(
            f"{_WANTED_EXAMPLE}, on the CPU, where the network is to run; got one on "
            f"{leaf.device}; example.cpu() is there"
        )
    if 0 in leaf.shape:
        raise ShapeError(
            f"the example (={tuple(leaf.shape)}) has no numbers in it; "
            "every size must be at least 1"
        )


def _shown(value: object) -> str:
    """Show what came, without its content where that may be long."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    kind = f"{kind} {tuple(shape)}" if isinstance(shape, tuple) else kind
    return f"an {kind}" if kind[0] in "aeiouAEIOU" else f"a {kind}"
