"""Our own door: `onebyone.compile`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, overload

from onebyone.compiler.batched import BatchedModel
from onebyone.compiler.compile import compile_model
from onebyone.compiler.fallback import warn_of_fallbacks
from onebyone.compiler.model import CompiledModel
from onebyone.compiler.several import compile_for_batch, compile_for_shapes
from onebyone.compiler.shaped import ShapedModel
from onebyone.graph import Pair


@overload
def compile_network(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int | None = None,
    numerics: str = "fp32",
    tune: str = "estimate",
    strict: bool = False,
    batch: None = None,
    shapes: None = None,
) -> CompiledModel: ...


@overload
def compile_network(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int | None = None,
    numerics: str = "fp32",
    tune: str = "estimate",
    strict: bool = False,
    batch: Literal["any"] | tuple[int, ...],
    shapes: None = None,
) -> BatchedModel: ...


@overload
def compile_network(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int | None = None,
    numerics: str = "fp32",
    tune: str = "estimate",
    strict: bool = False,
    batch: Literal["any"] | tuple[int, ...] | None = None,
    shapes: Sequence[Pair],
) -> ShapedModel: ...


def compile_network(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int | None = None,
    numerics: str = "fp32",
    tune: str = "estimate",
    strict: bool = False,
    batch: Literal["any"] | tuple[int, ...] | None = None,
    shapes: Sequence[Pair] | None = None,
) -> CompiledModel | BatchedModel | ShapedModel:
    """Compile a network for this machine's CPU; the network itself stays as it is.

    Args:
        model: Any network in evaluation mode, with float32 weights on the CPU, or a function of
            tensors; tensors that a function finds elsewhere are constants from then on.
        example: The tensor that it will be called with, or a tuple of arguments. Only shapes and
            types count; the compiled network takes these and no others. What is no tensor is a
            constant.
        kwargs: Further arguments by name, with which it will be called too.
        threads: Threads to run on; as many as there are cores for this process if None.
        numerics: What results promise. Those of "fp32" and "fp32-direct" are within 1e-5 of float64
            or, where the network itself amplifies rounding beyond that, within 5 times the error of
            PyTorch's own float32 (root of the mean square, relative); all have the same bits for
            any number of threads and any batch size, but for operators that PyTorch runs. "fp32"
            may use Winograd's algorithm, which is faster, has two to ten times the errors of a
            sum, and lets an infinite or NaN input spread to a few more pixels; "fp32-direct" keeps
            to sums. "fp16-weights" gives the bits of "fp32-direct" with weights of dense layers
            rounded to halves, and keeps them in half of the memory; "bf16" rounds values between
            layers, too, and is fast where the processor multiplies bfloat16.
        tune: How layers' tiles and loops are chosen; no choice changes a bit of the results.
            "estimate" takes what the cost model expects to be the fastest on this machine; it is
            within a few per cent of what can be found. "measure" times the likely ways of each
            layer within the network, in up to half a minute, and keeps what it finds for this
            machine; "patient" takes up to ten minutes. See `onebyone tune`.
        batch: How many images it may be called with, where that is not the example's number: "any",
            or several numbers, as (1, 8, 32). All share one copy of the weights and one working
            memory, and nothing is compiled later. With "any" there is code for 1 to 8 images, and
            more are computed in pieces of 8. Tensors of the example with as many
            entries as its first one change with it, and others do not: if one has a single entry
            for all images, let the example have two.
        shapes: Which sizes of images it may be called with, where that is not the example's alone:
            up to 16 pairs of height and width, as [(192, 192), (256, 320)]. All share one copy of
            the weights and one working memory; what depends on the size in them, such as those of
            Winograd's algorithm where it pays for some sizes only, is kept besides. Tensors of the
            example whose last two sizes are those of its first one change with it.
        strict: Raise an error if an operator has no native code, instead of running it in PyTorch.

    Returns:
        What is called like the network.

    Warns:
        FallbackWarning: If operators have no native code and run in PyTorch; says how many, and
            which. They stand in `.fallbacks` of the result, with their modules.

    Raises:
        ModelError: If `model` is no network, if it is in training mode, if what it does depends on
            the numbers in its input, or if it cannot run on images of one of `shapes`.
        CompileError: If the machine code cannot be made, if `strict` and an operator has none, or
            if there is a `batch` and the network cannot be shown to compute each image by itself.
            The network still runs in PyTorch.
        ShapeError: If `threads`, `strict`, `batch`, `shapes`, or the example cannot be.
        UnknownNameError: If `numerics` or `tune` is none of the words above.

    Side effects:
        Reads and writes the cache of compiled networks (`ONEBYONE_CACHE_DIR`).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()).eval()
        >>> x = torch.randn(1, 3, 4, 4)
        >>> fast = compile_network(model, x, threads=1)
        >>> torch.allclose(fast(x), model(x), atol=1e-5)
        True
    """
    options: dict[str, Any] = {
        "threads": threads,
        "numerics": numerics,
        "tune": tune,
        "strict": strict,
    }
    if shapes is not None:
        shaped = compile_for_shapes(model, example, kwargs, shapes=shapes, batch=batch, **options)
        warn_of_fallbacks(shaped.fallbacks)
        return shaped
    if batch is not None:
        return compile_for_batch(model, example, kwargs, batch=batch, **options)
    compiled = compile_model(model, example, kwargs, **options)
    warn_of_fallbacks(compiled.fallbacks)
    return compiled
