"""A network compiled for several numbers of images: one copy of the weights, one working memory."""

# pyright: reportImportCycles=false
# `save` imports the file's format when it is called.

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from onebyone.compiler.fates import LayerFates
from onebyone.compiler.model import CompiledModel, Saved
from onebyone.compiler.profile import Profile
from onebyone.errors import ShapeError
from onebyone.graph import Captured
from onebyone.graph.calls import Value
from onebyone.graph.images import first_difference, of_images, why_joined, with_images

if TYPE_CHECKING:
    from onebyone.compiler.library.write import Library

ANY = (1, 2, 3, 4, 5, 6, 7, 8)
"""What there is code for if any number of images may come; more are computed in pieces of these."""

MOST_BATCHES = 32
"""How many numbers of images a network can be compiled for."""


def check_batch(batch: object) -> tuple[int, ...]:
    """Return the numbers of images that `batch` asks code for.

    Raises:
        ShapeError: If it is neither "any" nor a tuple of different numbers.
    """
    if isinstance(batch, str) and batch == "any":
        return ANY
    given = list(batch) if isinstance(batch, tuple | list) else []
    sizes = sorted({images for images in given if type(images) is int and images > 0})
    if not sizes or len(sizes) < len(given) or len(sizes) > MOST_BATCHES:
        raise ShapeError(
            f'`batch` (={batch!r}) must be "any", or up to {MOST_BATCHES} different numbers of '
            "images, as (1, 8, 32), or None for the example's"
        )
    return tuple(sizes)


def why_apart(several: Mapping[int, Captured]) -> str:
    """Return why a network needs code of its own for each number of images, or nothing.

    It needs none if it does the same with each number, and computes each image by itself.
    """
    largest = max(several)
    whole = several[largest]
    reason = why_joined(whole.graph, largest)
    if reason:
        return reason
    for images, captured in several.items():
        expected = with_images(whole.graph, largest, images)
        other = first_difference(expected, captured.graph)
        if other is not None:
            return f"{other.place}: it does something else with {images} images"
        if captured.out_leaves != whole.out_leaves:
            return f"it returns something else with {images} images"
    return ""


class BatchedModel:
    """Run a network as native code, for any number of images or for several ones.

    Call it like the network, as a `CompiledModel`. The results of an image have the same bits with
    any number of others beside it.

    Attributes:
        models: The network for each number of images that there is code for.
        is_any: Whether further images are computed in pieces of those.
        target: Processor that it was compiled for.
        options: What was asked of the compiler.
        threads: Threads that it runs on.
        fallbacks: Operators that run in PyTorch; there are none.
        saved: The file that it was saved to or loaded from, if any.
    """

    def __init__(self, models: Mapping[int, CompiledModel], *, is_any: bool) -> None:
        self.models = dict(sorted(models.items()))
        self.is_any = is_any
        self._largest = max(models)
        self._whole = models[self._largest]
        self._place, self._counts = _places(self.models)
        self.target = self._whole.target
        self.options = self._whole.options
        self.threads = self._whole.threads
        self.fallbacks = self._whole.fallbacks
        self.saved: Saved | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network.

        Raises:
            ShapeError: If an argument is not like the example's but for the number of images, or if
                there is no code for that.
        """
        images = self._images(args, kwargs)
        model = self.models.get(images)
        return model(*args, **kwargs) if model else self._in_pieces(images, args, kwargs)

    def profile(self, *args: Any, rounds: int = 10, **kwargs: Any) -> Profile:
        """Run the network `rounds` times and return what each layer took, as `CompiledModel` does.

        Raises:
            ShapeError: If there is no code for so many images at once.
        """
        images = self._images(args, kwargs)
        model = self.models.get(images)
        if model is None:
            known = ", ".join(map(str, self.models))
            raise ShapeError(f"{images} images cannot be timed at once, but {known} can")
        return model.profile(*args, rounds=rounds, **kwargs)

    @property
    def memory_bytes(self) -> int:
        """Memory that native code runs in: packed weights and tables, and room for activations."""
        return self._whole.memory_bytes

    def export(self, out: str | Path, **options: Any) -> "Library":
        """Write the network as a library, as `CompiledModel.export` does.

        The library has code for the same numbers of images. It computes others in parts of these if
        all are multiples of the smallest.

        Raises:
            OneByOneError: As there.
        """
        from onebyone.compiler.library.export import export_compiled

        return export_compiled(self, out, **options)

    def fates(self) -> LayerFates:
        """Return what became of each layer: with whom it was fused, or why not; print it."""
        return self._whole.fates()

    def save(self, path: str | Path) -> None:
        """Write it to a file that `load_compiled` reads, as a `CompiledModel` is saved.

        Raises:
            CompileError: If the file cannot be written.
        """
        from onebyone.compiler.saved import save

        self.saved = save({None: self.models}, Path(path), "any" if self.is_any else "these")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the file that it was saved to or loaded from, and its digest.

        Raises:
            CompileError: If there is none.
        """
        from onebyone.compiler.saved import by_name

        return by_name(self.saved)

    def __repr__(self) -> str:
        """Show what it is, where it runs and what was asked for."""
        images = "any number" if self.is_any else ", ".join(map(str, self.models))
        inside = repr(self._whole).partition("(")[2]
        return f"BatchedModel({images} of images, {inside}"

    def _images(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """Return how many images there are; of arguments that are wrong, what there is code for."""
        leaf = tensor_at(self._place, args, kwargs)
        return leaf.shape[0] if leaf is not None and leaf.ndim else self._largest

    def _captured(self, images: int) -> Captured:
        """Return what would have been captured with so many images."""
        captured = self._whole.captured
        graph = with_images(captured.graph, self._largest, images)
        shapes = iter([node.shape for node in graph.inputs])
        leaves = tuple(
            replace(leaf, shape=next(shapes))
            if isinstance(leaf, Value)
            else images
            if place in self._counts
            else leaf
            for place, leaf in enumerate(captured.in_leaves)
        )
        return replace(captured, graph=graph, in_leaves=leaves)

    def _in_pieces(self, images: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if images < 1:
            raise ShapeError("there are no images in the arguments; at least one is needed")
        if not self.is_any:
            known = ", ".join(map(str, self.models))
            raise ShapeError(
                f"the network was compiled for {known} images, and {images} came; compile it with "
                '`batch="any"`, or with this number among them'
            )
        whole = self._captured(images)
        tensors = whole.flatten(args, kwargs)
        if whole.written:
            whole.check_apart(tensors)
        changing = of_images(whole.graph, images)
        cut = [node.name in changing for node in whole.graph.inputs]
        pieces: list[list[Tensor]] = []
        for first in range(0, images, self._largest):
            count = min(self._largest, images - first)
            piece = [
                tensor.narrow(0, first, count) if is_cut else tensor
                for tensor, is_cut in zip(tensors, cut, strict=True)
            ]
            pieces.append(self.models[count].call_flat(piece))
        outputs = [
            torch.cat(parts) if ref.name in changing else parts[0]
            for ref, parts in zip(whole.graph.outputs, zip(*pieces, strict=True), strict=True)
        ]
        return whole.unflatten(outputs)


def tensor_at(place: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the flattened argument at a place; or the first tensor, if that is none."""
    leaves = tree_leaves((args, dict(kwargs))) if kwargs or place >= len(args) else args
    leaf = leaves[place] if place < len(leaves) else None
    if isinstance(leaf, Tensor):
        return leaf
    return next((one for one in tree_leaves(leaves) if isinstance(one, Tensor)), None)


def _places(models: Mapping[int, CompiledModel]) -> tuple[int, frozenset[int]]:
    """Return which argument is the first with an entry for each image, and which are the number."""
    images = max(models)
    leaves = models[images].captured.in_leaves
    given = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Value)]
    first = next(place for place in given if leaves[place].shape[:1] == (images,))
    counts = frozenset(
        place
        for place, leaf in enumerate(leaves)
        if type(leaf) is int
        and all(model.captured.in_leaves[place] == n for n, model in models.items())
    )
    return first, counts if len(models) > 1 else frozenset()
