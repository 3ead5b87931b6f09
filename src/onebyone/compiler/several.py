"""From a network to native code for inputs of several shapes: numbers and sizes of images."""

from collections.abc import Callable, Mapping
from typing import Any

from onebyone.compiler.batched import BatchedModel, check_batch, why_apart
from onebyone.compiler.compile import compile_several, known_target
from onebyone.compiler.example import check_model, compile_arguments, examples_of, sized_examples
from onebyone.compiler.machine.calibrate import calibrated_target
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.shaped import ShapedModel, check_shapes, show_sizes
from onebyone.compiler.sharing import SharedTensors
from onebyone.compiler.target import Target
from onebyone.errors import CompileError, located
from onebyone.graph import Captured, capture


def compile_for_batch(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    batch: object,
    target: Target | None = None,
    **options: Any,
) -> BatchedModel:
    """Compile a network for several numbers of images, as `compile_network` does with a `batch`.

    Args:
        model: As there.
        example: As there.
        kwargs: As there.
        batch: As there.
        target: As for `compile_model`.
        options: Those of `CompileOptions`.
    """
    asked = CompileOptions(**options)
    sizes = check_batch(batch)
    machine = known_target(target or calibrated_target(asked.numerics), asked)
    model = check_model(model)
    args, named = compile_arguments(example, kwargs)
    several = {images: capture(model, *examples_of(args, named, images)) for images in sizes}
    return compile_batches(several, target=machine, options=asked, is_any=batch == "any")


def compile_for_shapes(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    shapes: object,
    batch: object = None,
    target: Target | None = None,
    **options: Any,
) -> ShapedModel:
    """Compile a network for several sizes of images, as `compile_network` does with `shapes`.

    Args:
        model: As there.
        example: As there.
        kwargs: As there.
        shapes: As there.
        batch: As there.
        target: As for `compile_model`.
        options: Those of `CompileOptions`.
    """
    asked = CompileOptions(**options)
    pairs = check_shapes(shapes)
    numbers = None if batch is None else check_batch(batch)
    machine = known_target(target or calibrated_target(asked.numerics), asked)
    model = check_model(model)
    args, named = compile_arguments(example, kwargs)
    tensors, several = SharedTensors(), list[dict[int, Captured]]()
    for pair in pairs:
        sized = sized_examples(args, named, pair)
        examples = {images: examples_of(*sized, images) for images in numbers or ()} or {1: sized}
        with located(f"`shapes`, {show_sizes([pair])}"):
            found = {images: capture(model, *one) for images, one in examples.items()}
            if numbers:
                _check_apart(found)
        several.append({images: tensors.captured(one) for images, one in found.items()})
    compiled = compile_several(several, machine, asked)
    return ShapedModel(
        {
            pair: BatchedModel(models, is_any=batch == "any") if numbers else models[1]
            for pair, models in zip(pairs, compiled, strict=True)
        }
    )


def compile_batches(
    several: Mapping[int, Captured],
    *,
    target: Target,
    options: CompileOptions = DEFAULT_OPTIONS,
    is_any: bool,
) -> BatchedModel:
    """Compile a network that was captured with several numbers of images.

    Args:
        several: What was captured, by the number of images.
        target: As for `compile_captured`.
        options: As there.
        is_any: Whether further numbers of images are computed in pieces.

    Raises:
        CompileError: As there, or if the network cannot be shown to compute each image by itself.
        ModelError: As there.
        ShapeError: As there.
    """
    _check_apart(several)
    (models,) = compile_several([several], target, options)
    return BatchedModel(models, is_any=is_any)


def _check_apart(several: Mapping[int, Captured]) -> None:
    """Check that code can be made for several numbers of images.

    Raises:
        CompileError: If it cannot.
    """
    if reason := why_apart(several):
        raise CompileError(
            f"the network cannot be compiled for several numbers of images ({reason}); leave out "
            "`batch`, and compile it for each number"
        )
