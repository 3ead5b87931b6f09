"""A network compiled for images of several sizes: one copy of the weights, one working memory."""

# pyright: reportImportCycles=false
# `save` imports the file's format when it is called.

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onebyone.compiler.batched import BatchedModel, tensor_at
from onebyone.compiler.fates import LayerFates
from onebyone.compiler.model import Batch, CompiledModel, Saved
from onebyone.compiler.profile import Profile
from onebyone.errors import CompileError, ShapeError
from onebyone.graph import Pair
from onebyone.graph.calls import Value

if TYPE_CHECKING:
    from onebyone.compiler.library.write import Library

MOST_SHAPES = 16
"""How many sizes of images a network can be compiled for."""


def check_shapes(shapes: object) -> tuple[Pair, ...]:
    """Return the sizes of images, (height, width), that `shapes` asks code for, the largest first.

    Raises:
        ShapeError: If it is no list of different pairs.
    """
    given: list[Any] = list(shapes) if isinstance(shapes, tuple | list) else []
    pairs: set[Pair] = {(one[0], one[1]) for one in given if _is_size(one)}
    if not pairs or len(pairs) < len(given) or len(pairs) > MOST_SHAPES:
        raise ShapeError(
            f"`shapes` (={shapes!r}) must be up to {MOST_SHAPES} different sizes of images, each "
            "(height, width), as [(160, 160), (224, 224)], or None for the example's"
        )
    return tuple(sorted(pairs, key=_area, reverse=True))


def _is_size(one: Any) -> bool:
    return (
        isinstance(one, tuple | list)
        and len(one) == 2
        and all(type(pixels) is int and pixels > 0 for pixels in one)
    )


def _area(size: Pair) -> tuple[int, Pair]:
    return size[0] * size[1], size


class ShapedModel:
    """Run a network as native code, for images of several sizes.

    Call it like the network, as a `CompiledModel`. The results have the bits that they have where
    the network is compiled for their size alone.

    Attributes:
        models: By (height, width), the network for images of that size: a `CompiledModel`, or a
            `BatchedModel` if it takes several numbers of them.
        target: Processor that it was compiled for.
        options: What was asked of the compiler.
        threads: Threads that it runs on.
        fallbacks: Operators that run in PyTorch, of images of the largest size.
        saved: The file that it was saved to or loaded from, if any.
    """

    def __init__(self, models: Mapping[Pair, CompiledModel | BatchedModel]) -> None:
        self.models = dict(sorted(models.items(), key=lambda item: _area(item[0])))
        self._whole = self.models[max(models, key=_area)]
        self._place = _first_tensor(self._whole)
        self.target = self._whole.target
        self.options = self._whole.options
        self.threads = self._whole.threads
        self.fallbacks = self._whole.fallbacks
        self.saved: Saved | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network.

        Raises:
            ShapeError: If there is no code for images of that size, or if an argument is not like
                the example's otherwise.
        """
        return self._for(args, kwargs)(*args, **kwargs)

    def profile(self, *args: Any, rounds: int = 10, **kwargs: Any) -> Profile:
        """Run the network `rounds` times and return what each layer took, as `CompiledModel` does.

        Raises:
            ShapeError: As of a call.
        """
        return self._for(args, kwargs).profile(*args, rounds=rounds, **kwargs)

    @property
    def memory_bytes(self) -> int:
        """Memory that native code runs in: packed weights and tables, and room for activations."""
        return self._whole.memory_bytes

    def export(self, out: str | Path, **options: Any) -> "Library":  # noqa: ARG002
        """Refuse to write a library, which has code for one size of images.

        Raises:
            CompileError: Always; says what to do.
        """
        size = next(iter(self.models))
        raise CompileError(
            "a library has code for one size of images, and the network was compiled for "
            f"{show_sizes(self.models)}; export one of them: `.models[{size}].export(...)`"
        )

    def fates(self) -> LayerFates:
        """Return what became of each layer for images of the largest size; print it."""
        return self._whole.fates()

    def save(self, path: str | Path) -> None:
        """Write it to a file that `load_compiled` reads, as a `CompiledModel` is saved.

        Raises:
            CompileError: As there.
        """
        from onebyone.compiler.saved import save

        batch: Batch = "one"
        several: dict[Pair | None, Mapping[int, CompiledModel]] = {}
        for size, model in reversed(self.models.items()):
            if isinstance(model, BatchedModel):
                batch = "any" if model.is_any else "these"
            several[size] = model.models if isinstance(model, BatchedModel) else {1: model}
        self.saved = save(several, Path(path), batch)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the file that it was saved to or loaded from, and its digest.

        Raises:
            CompileError: If there is none.
        """
        from onebyone.compiler.saved import by_name

        return by_name(self.saved)

    def __repr__(self) -> str:
        """Show what it is, where it runs and what was asked for."""
        inside = repr(self._whole).partition("(")[2]
        return f"ShapedModel({show_sizes(self.models)}; {inside}"

    def _for(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> CompiledModel | BatchedModel:
        """Return what runs images of that size; of arguments that are wrong, of the largest.

        Raises:
            ShapeError: If there is no code for it.
        """
        image = tensor_at(self._place, args, kwargs)
        if image is None or image.ndim < 2:
            return self._whole
        height, width = image.shape[-2:]
        model = self.models.get((height, width))
        if model is None:
            raise ShapeError(
                f"the network was compiled for images of {show_sizes(self.models)}, and "
                f"{height}x{width} came; compile it with this size among `shapes`"
            )
        return model


def show_sizes(sizes: Iterable[Pair]) -> str:
    """Show sizes of images in a line.

    Example:
        >>> show_sizes([(192, 192), (256, 320)])
        '192x192, 256x320'
    """
    return ", ".join(f"{height}x{width}" for height, width in sizes)


def _first_tensor(model: CompiledModel | BatchedModel) -> int:
    """Return which argument is the first tensor."""
    one = model if isinstance(model, CompiledModel) else next(iter(model.models.values()))
    leaves = one.captured.in_leaves
    return next(place for place, leaf in enumerate(leaves) if isinstance(leaf, Value))
