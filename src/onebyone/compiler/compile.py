"""The whole road from a network to native code: capture, rewrite, split, plan, write, load."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from onebyone.compiler.build import Built, build, find_built
from onebyone.compiler.example import check_model, compile_arguments
from onebyone.compiler.explanation import explain
from onebyone.compiler.fallback import Fallback, refuse_fallbacks
from onebyone.compiler.key import graph_key
from onebyone.compiler.model import CompiledModel, NativeStep, Step
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import NativeFunction
from onebyone.compiler.split import Segment, is_native, split_graph
from onebyone.compiler.target import Target, can_run, host_target
from onebyone.errors import CompileError, ModelError, ShapeError
from onebyone.graph import Captured, Graph, Opaque, Ref, View, capture


def compile_model(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    keep: bool = True,
    **options: Any,
) -> CompiledModel:
    """Compile a network as `compile_network` does, without a word on what runs in PyTorch.

    Args:
        model: As there.
        example: As there.
        kwargs: As there.
        target: Processor to compile for, if not the best that this one can run.
        keep: Whether the machine code is looked for on disk, and kept there for the next time.
        options: Those of `CompileOptions`.
    """
    chosen = CompileOptions(**options)
    model = check_model(model)
    args, named = compile_arguments(example, kwargs)
    captured = capture(model, args, named)
    return compile_captured(captured, target=target or host_target(), options=chosen, keep=keep)


def compile_captured(
    captured: Captured,
    *,
    target: Target,
    options: CompileOptions = DEFAULT_OPTIONS,
    keep: bool = True,
) -> CompiledModel:
    """Compile a captured graph.

    Raises:
        CompileError: If memory or LLVM gives out, the target is for another processor, or
            `options.strict` and an operator has no native code.
        ModelError: If a weight has no numbers.
        ShapeError: If an input has no numbers.
    """
    _check_sizes(captured.graph)
    _check_numbers(captured.graph)
    if not can_run(target):
        raise CompileError(
            f"this processor cannot run code for the target {target.name!r}; "
            f"the best that it can run is {host_target().name!r}"
        )
    try:
        return _compile(captured, target, options, keep=keep)
    except MemoryError as error:
        raise CompileError("there is not enough memory to compile the network") from error
    except RuntimeError as error:
        if "alloc" not in str(error):
            raise
        raise CompileError("there is not enough memory to compile the network") from error


def _compile(
    captured: Captured, target: Target, options: CompileOptions, *, keep: bool
) -> CompiledModel:
    graph = captured.graph
    key = graph_key(graph, target.key, options.numerics) if keep else None
    threads = options.thread_count
    if is_native(graph):
        # What is in the cache needs neither rewrites nor a plan.
        built = (key and find_built(key)) or build(rewrite_graph(graph), target, key, options)
        names = tuple(node.name for node in graph.inputs)
        # Native code gives all outputs as they are shown.
        outputs = [
            Ref(f"output {index}", is_contiguous=ref.is_contiguous and ref.view is View.NHWC)
            for index, ref in enumerate(graph.outputs)
        ]
        steps: list[Step] = [_native(built, threads, names, tuple(ref.name for ref in outputs))]
        why = partial(explain, graph, built.account.changed, [built.account])
        return CompiledModel(captured, steps, outputs, target=target, options=options, explain=why)
    rewritten = rewrite_graph(graph)
    if options.strict:
        refuse_fallbacks([Fallback.of(node) for node in rewritten if isinstance(node, Opaque)])
    builts: list[Built] = []
    steps = []
    for number, part in enumerate(split_graph(rewritten)):
        if not isinstance(part, Segment):
            steps.append(part)
            continue
        name = f"{key}-{number}" if key else None
        built = (name and find_built(name)) or build(part.graph, target, name, options)
        builts.append(built)
        steps.append(_native(built, threads, part.takes, part.gives))
    why = partial(explain, graph, rewritten.changed, [built.account for built in builts])
    return CompiledModel(
        captured, steps, rewritten.outputs, target=target, options=options, explain=why
    )


def _native(
    built: Built, threads: int, takes: tuple[str, ...], gives: tuple[str, ...]
) -> NativeStep:
    return NativeStep(NativeFunction(built.binary, threads), takes, gives, built.account.layers)


def _check_sizes(graph: Graph) -> None:
    for node in graph.inputs:
        if 0 in node.shape:
            raise ShapeError(
                f"the example (={tuple(node.shape)}) has no numbers in it; "
                "every size must be at least 1"
            )


def _check_numbers(graph: Graph) -> None:
    for node in graph:
        if any(tensor.is_meta for tensor in node.tensors()):
            raise ModelError(
                f"{node.place}: a tensor on the meta device has no numbers; "
                "load the model's weights"
            )
