"""A network that runs on the same images again and again, each time a little further.

Layers are solved from front to back, and each is solved on what the layers before it give now. To
run them all from the images each time would cost the square of the network's depth. Most networks
are a row of modules, each of which reads what the one before it gives and nothing else: what the
next of them reads is kept, so that only the rest of the way is run.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from onebyone.errors import ShrinkError

KEPT_BYTES = 2**30
"""What is kept of one network, at most: what a module reads, of all images."""


class Playback:
    """Run a network on images, as far as a layer and no further.

    What layers do may change between two runs, if those that changed come before all that are asked
    for from then on.

    Attributes:
        network: What runs.

    Args:
        network: In evaluation.
        batches: Images, `(N, C, H, W)` each.
        row: The modules that it is a row of, as `find_row` tells.
    """

    def __init__(
        self, network: nn.Module, batches: Sequence[Tensor], row: Sequence[str] = ()
    ) -> None:
        self.network = network
        self._row = row
        self._images = batches
        self._place = 0
        self._kept = list(batches)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._images)

    @property
    def count(self) -> int:
        """The number of images."""
        return sum(map(len, self._images))

    def convolution(self, layer: str) -> nn.Conv2d:
        """Return a layer."""
        conv = self.network.get_submodule(layer)
        assert isinstance(conv, nn.Conv2d)
        return conv

    def go_to(self, layer: str) -> None:
        """Get ready to run as far as a layer: keep what the module reads that it is in."""
        place = self._place_of(layer)
        if place is None or place <= self._place:
            return
        steps = [self.network.get_submodule(path) for path in self._row[self._place : place]]
        first = _run_all(steps, self._kept[0])
        if first.nbytes * len(self._kept) > KEPT_BYTES:
            return
        self._kept[0] = first
        for batch in range(1, len(self._kept)):  # one by one: what was kept is let go
            self._kept[batch] = _run_all(steps, self._kept[batch])
        self._place = place

    def read(self, layer: str, batch: int) -> Tensor:
        """Return what a layer reads of a batch."""
        return self._run(layer, batch, gives=False)

    def give(self, layer: str, batch: int) -> Tensor:
        """Return what a layer gives for a batch."""
        return self._run(layer, batch, gives=True)

    def _place_of(self, layer: str) -> int | None:
        places = (
            number
            for number, path in enumerate(self._row)
            if layer == path or layer.startswith(f"{path}.")
        )
        return next(places, None)

    def _run(self, layer: str, batch: int, *, gives: bool) -> Tensor:
        place, module = self._place_of(layer), self.network.get_submodule(layer)
        if place is None or place < self._place:
            steps, values = [self.network], self._images[batch]
        else:
            names = self._row[self._place : place + 1]
            steps, values = [self.network.get_submodule(name) for name in names], self._kept[batch]

        def stop(_: nn.Module, args: tuple[Tensor, ...], *given: Tensor) -> None:
            raise _StopError(given[0] if gives else args[0])

        listen = module.register_forward_hook if gives else module.register_forward_pre_hook
        handle = listen(stop)
        try:
            _run_all(steps, values)
        except _StopError as reached:
            return reached.value
        finally:
            handle.remove()
        raise ShrinkError("the network did not come to this layer on these images")


def _run_all(steps: Sequence[nn.Module], values: Tensor) -> Tensor:
    """Run modules one behind the other, on a copy: they may write into what they read."""
    values = values.clone()
    for step in steps:
        values = step(values)
    return values


class _StopError(Exception):
    """Carries a value out of a network that has run far enough."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


@torch.no_grad()
def find_row(network: nn.Module, image: Tensor) -> tuple[str, ...]:
    """Return the modules that a network begins with, each reading what the one before it gives.

    Each is called once, with one tensor, and with one that nothing has written into meanwhile. Rows
    within modules are told as far as they make up all of their module. The row ends where something
    else happens; what comes behind it, and within its modules, is not told.

    Args:
        network: In evaluation.
        image: `(1, C, H, W)`.
    """
    calls = _listen(network, image)
    counts: dict[str, int] = {}
    for call in calls.within():
        counts[call.path] = counts.get(call.path, 0) + 1
    row: list[str] = []
    at = calls.reads
    for part in calls.parts:
        if part.reads is None or part.reads != at:
            break
        row += [one.path for one in _as_row(part)]
        at = part.gives
    repeated = next((i for i, path in enumerate(row) if counts[path] > 1), len(row))
    return tuple(row[:repeated])


_Content = tuple[int, int]
"""A tensor, and how often it was written into."""


@dataclass(slots=True)
class _Call:
    """One call of a module: what it reads and gives, if that is one tensor, and calls within it."""

    path: str
    reads: _Content | None
    gives: _Content | None = None
    parts: "list[_Call]" = field(default_factory=list)

    def within(self) -> "Iterator[_Call]":
        for part in self.parts:
            yield part
            yield from part.within()


def _as_row(call: _Call) -> list[_Call]:
    """Return the calls that a call is made up of, one behind the other; else itself."""
    contents = [call.reads, *(part.gives for part in call.parts)]
    reads = [part.reads for part in call.parts]
    if not call.parts or None in contents or contents != [*reads, call.gives]:
        return [call]
    return [one for part in call.parts for one in _as_row(part)]


def _listen(network: nn.Module, image: Tensor) -> _Call:
    """Run a network, and return what it calls."""
    seen: list[Tensor] = []  # so that no two have one address
    whole = _Call("", None)
    under_way = [whole]

    def content(values: Any) -> _Content | None:
        if not isinstance(values, Tensor):
            return None
        seen.append(values)
        return id(values), values._version

    def watch(path: str, module: nn.Module) -> None:
        def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            is_plain = len(args) == 1 and not kwargs
            call = _Call(path, content(args[0]) if is_plain else None)
            under_way[-1].parts.append(call)
            under_way.append(call)

        def end(_: nn.Module, args: tuple[Any, ...], given: Any) -> None:  # noqa: ARG001
            under_way.pop().gives = content(given)

        hooks.callback(module.register_forward_pre_hook(begin, with_kwargs=True).remove)
        hooks.callback(module.register_forward_hook(end).remove)

    with ExitStack() as hooks:
        for path, module in network.named_modules():
            watch(path, module)
        network(image.clone())
    return whole.parts[0]
