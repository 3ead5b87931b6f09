"""The whole road from a network to native code: capture, rewrite, split, plan, write, load."""

from typing import Any

from torch import nn

from onebyone.compiler.build import Built, build, find_built
from onebyone.compiler.cache import graph_key
from onebyone.compiler.explanation import explain
from onebyone.compiler.model import CompiledModel, NativeStep, Step
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import NativeFunction
from onebyone.compiler.split import Segment, is_native, split_graph
from onebyone.compiler.target import Target, can_run, choose_threads, host_target
from onebyone.errors import CompileError, ShapeError, check_choice
from onebyone.graph import Captured, Graph, Ref, capture

NUMERICS = ("fp32", "fp32-direct")
"""What results promise: within 1e-5 (relative, root of the mean square) of float64.

"fp32" may compute convolutions by Winograd's algorithm, "fp32-direct" does not.
"""


def compile_model(
    model: nn.Module,
    example: Any,
    *,
    threads: int | None = None,
    numerics: str = "fp32",
    target: Target | None = None,
) -> CompiledModel:
    """Compile a network for this machine's CPU; the network itself stays as it is.

    Args:
        model: Any network in evaluation mode, with float32 weights on the CPU.
        example: The tensor that it will be called with, or a tuple of arguments. Only shapes and
            types count; the compiled network takes these and no others.
        threads: Threads to run on; as many as there are cores for this process if None.
        numerics: What results promise. Both are within 1e-5 of float64, with the same bits for any
            number of threads and any batch size. "fp32" may use Winograd's algorithm, which is
            faster, has two to ten times the rounding errors of a sum, and lets an infinite or NaN
            input spread to a few more pixels; "fp32-direct" keeps to sums.
        target: Processor to compile for, if not the best that this one can run.

    Returns:
        What is called like the network.

    Raises:
        ModelError: If the network is in training mode, or if what it does depends on the numbers in
            its input.
        CompileError: If the machine code cannot be made. The network still runs in PyTorch.
        ShapeError: If `threads` or the example cannot be.

    Side effects:
        Reads and writes the cache of compiled networks (`ONEBYONE_CACHE_DIR`).

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()).eval()
        >>> x = torch.randn(1, 3, 4, 4)
        >>> fast = compile_model(model, x, threads=1)
        >>> torch.allclose(fast(x), model(x), atol=1e-5)
        True
    """
    check_choice("numerics", numerics, NUMERICS)
    threads = choose_threads(threads)
    arguments = example if isinstance(example, tuple) else (example,)
    captured = capture(model, arguments)
    return compile_captured(
        captured,
        target=target or host_target(),
        threads=threads,
        numerics=numerics,
    )


def compile_captured(
    captured: Captured, *, target: Target, threads: int, numerics: str = "fp32"
) -> CompiledModel:
    """Compile a captured graph.

    Raises:
        CompileError: If memory or LLVM gives out, or the target is for another processor.
        ShapeError: If an input has no numbers.
    """
    _check_sizes(captured.graph)
    if not can_run(target):
        raise CompileError(
            f"this processor cannot run code for the target {target.name!r}; "
            f"the best that it can run is {host_target().name!r}"
        )
    try:
        return _compile(captured, target, threads, numerics)
    except MemoryError as error:
        raise CompileError("there is not enough memory to compile the network") from error
    except RuntimeError as error:
        if "alloc" not in str(error):
            raise
        raise CompileError("there is not enough memory to compile the network") from error


def _compile(captured: Captured, target: Target, threads: int, numerics: str) -> CompiledModel:
    graph = captured.graph
    key = graph_key(graph, target.key, numerics)
    if is_native(graph):
        # What is in the cache needs neither rewrites nor a plan.
        built = find_built(key) or build(rewrite_graph(graph), target, key, numerics)
        names = tuple(node.name for node in graph.inputs)
        # Native code gives all outputs as they are shown.
        outputs = [Ref(f"output {index}") for index in range(len(graph.outputs))]
        steps: list[Step] = [_native(built, threads, names, tuple(ref.name for ref in outputs))]
        why = explain(graph, [built])
        return CompiledModel(
            captured, steps, outputs, target=target, threads=threads, explanation=why
        )
    rewritten = rewrite_graph(graph)
    builts: list[Built] = []
    steps = []
    for number, part in enumerate(split_graph(rewritten)):
        if not isinstance(part, Segment):
            steps.append(part)
            continue
        name = f"{key}-{number}"
        built = find_built(name) or build(part.graph, target, name, numerics)
        builts.append(built)
        steps.append(_native(built, threads, part.takes, part.gives))
    why = explain(graph, builts)
    return CompiledModel(
        captured, steps, rewritten.outputs, target=target, threads=threads, explanation=why
    )


def _native(
    built: Built, threads: int, takes: tuple[str, ...], gives: tuple[str, ...]
) -> NativeStep:
    return NativeStep(NativeFunction(built.binary, threads), takes, gives, built.layers)


def _check_sizes(graph: Graph) -> None:
    for node in graph.inputs:
        if 0 in node.shape:
            raise ShapeError(
                f"the example (={tuple(node.shape)}) has no numbers in it; "
                "every size must be at least 1"
            )
