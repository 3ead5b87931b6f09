"""What a network does with its layers: how often it calls each, on what, and what else."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onebyone.errors import ShrinkError, first_line

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """What a network did with one layer.

    Attributes:
        shapes: Of what it gave the layer and what it got, for each call in order.
        asked: Names of the layer's attributes that it asked for.
    """

    shapes: tuple[tuple[Shape, Shape], ...]
    asked: tuple[str, ...]


def watch_calls(network: nn.Module, paths: Iterable[str], example: Tensor) -> dict[str, Use]:
    """Run a network with something else in the place of layers, and return what it did with them.

    Where it asks for a layer's weight or width, another layer could not take its place.

    Args:
        network: A copy that nobody needs afterwards.
        paths: Of the layers; each has one name.
        example: What it is run on.

    Returns:
        Uses by path; those that were called come first, in the order of their first calls.

    Raises:
        ShrinkError: If the network does not run so.
    """
    order: dict[str, None] = {}
    stand_ins = {path: _StandIn(network.get_submodule(path), path, order) for path in paths}
    places = [(network.get_submodule(path.rpartition(".")[0]), path) for path in stand_ins]
    for parent, path in places:
        parent.register_module(path.rpartition(".")[2], stand_ins[path])
    try:
        with torch.no_grad():
            network(example)
    except Exception as error:  # a user's network may raise anything
        raise ShrinkError(
            "the network does not run with others in the place of its convolutions and batch "
            f"norms: {first_line(error)}; it must do nothing but call them"
        ) from error
    return {path: stand_ins[path].use for path in dict.fromkeys((*order, *stand_ins))}


class _StandIn(nn.Module):
    """Stand in the place of a layer, and note what is asked of it.

    Args:
        layer: What does the work.
        path: Of the layer.
        order: Where it notes that it was called.
    """

    def __init__(self, layer: nn.Module, path: str, order: dict[str, None]) -> None:
        super().__init__()
        self.stood_for = layer
        self._path = path
        self._order = order
        self._shapes: list[tuple[Shape, Shape]] = []
        self._asked: dict[str, None] = {}

    @property
    def use(self) -> Use:
        """What was asked of it."""
        return Use(tuple(self._shapes), tuple(self._asked))

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        """Let the layer work."""
        self._order.setdefault(self._path)
        result: Tensor = self.stood_for(x, *args, **kwargs)
        self._shapes.append((tuple(x.shape), tuple(result.shape)))
        return result

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        """Give what the layer has, and note it."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(super().__getattr__("stood_for"), name)
        self._asked[name] = None
        return value
