"""The whole road from a network to native code.

capture -> split -> for each native part: find it, or rewrite, choose, plan, emit and load it.
Parts are split off before they are rewritten, so that what is found need not be rewritten again.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onebyone.compiler.build import Built, build, find_built
from onebyone.compiler.choose.check import check_names
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.example import check_model, compile_arguments
from onebyone.compiler.fallback import Fallback, refuse_fallbacks
from onebyone.compiler.key import graphs_key
from onebyone.compiler.machine.calibrate import calibrated_target
from onebyone.compiler.model import CompiledModel, NativeStep, Step
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.runtime.opaque import OwnTensors
from onebyone.compiler.sharing import rewrite_alike
from onebyone.compiler.split import Part, Segment, split_graph
from onebyone.compiler.target import ABILITIES, TARGETS, Target, can_run, host_target, is_able
from onebyone.errors import CompileError, ModelError, ShapeError, UnknownNameError
from onebyone.graph import Captured, Graph, Opaque, capture
from onebyone.graph.images import with_images

if TYPE_CHECKING:
    from onebyone.compiler.plan.plan import ExecutionPlan
    from onebyone.compiler.tune.tune import Watch
    from onebyone.compiler.tune.tuning import Tuning


def compile_model(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    chosen: Mapping[str, Choices] | None = None,
    keep: bool = True,
    **options: Any,
) -> CompiledModel:
    """Compile a network as `compile_network` does, without a word on what runs in PyTorch.

    Args:
        model: As there.
        example: As there.
        kwargs: As there.
        target: Processor to compile for, if not the best that this one can run.
        chosen: How some nodes are to run, by name, in place of what the cost model says.
        keep: Whether the machine code is looked for on disk, and kept there for the next time.
        options: Those of `CompileOptions`.
    """
    asked = CompileOptions(**options)
    machine = known_target(target or calibrated_target(asked.numerics), asked)
    model = check_model(model)
    args, named = compile_arguments(example, kwargs)
    captured = capture(model, args, named)
    return compile_captured(captured, target=machine, options=asked, chosen=chosen, keep=keep)


def plan_model(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    chosen: Mapping[str, Choices] | None = None,
    **options: Any,
) -> "tuple[ExecutionPlan, ...]":
    """Plan what `compile_model` would compile, for any processor; `print` each plan.

    Returns:
        A plan for each native part of the network; one if nothing is left to PyTorch.

    Raises:
        CompileError: If a node cannot run as is chosen, or there is none of a name.
        ShapeError: If an input has no numbers.
    """
    from onebyone.compiler.plan.plan import plan_execution

    asked = CompileOptions(**options)
    machine = known_target(target or calibrated_target(asked.numerics), asked)
    args, named = compile_arguments(example, kwargs)
    graph = capture(check_model(model), args, named).graph
    _check_sizes(graph)
    parts = split_graph(graph)
    graphs = [rewrite_graph(part.graph) for part in parts if not isinstance(part, Opaque)]
    plans = [plan_execution(one, machine, asked, chosen) for one in graphs]
    check_names(chosen or {}, (name for plan in plans for name in plan.choices))
    return tuple(plans)


def compile_captured(
    captured: Captured,
    *,
    target: Target,
    options: CompileOptions = DEFAULT_OPTIONS,
    chosen: Mapping[str, Choices] | None = None,
    keep: bool = True,
) -> CompiledModel:
    """Compile a captured graph.

    Args:
        captured: The graph.
        target: Processor to compile for.
        options: What was asked for.
        chosen: As for `compile_model`.
        keep: As there.

    Raises:
        CompileError: If memory or LLVM gives out, the target is for another processor, a node
            cannot run as is chosen, or `options.strict` and an operator has no native code.
        ModelError: If a weight has no numbers.
        ShapeError: If an input has no numbers.
    """
    (models,) = compile_several([{1: captured}], target, options, chosen, keep=keep)
    return models[1]


def compile_several(
    several: Sequence[Mapping[int, Captured]],
    target: Target,
    options: CompileOptions,
    chosen: Mapping[str, Choices] | None = None,
    *,
    keep: bool = True,
) -> list[dict[int, CompiledModel]]:
    """Compile a network for inputs of one or several shapes, which share weights and memory.

    Args:
        several: For each size of images, the largest first, what was captured by the number of
            images; there are the same numbers for all.
        target: As for `compile_captured`.
        options: As there.
        chosen: As there, for the largest shape; for others, weights lie as for this one.
        keep: As there.

    Raises:
        CompileError: As there, or if PyTorch has to run other operators for other shapes.
        ModelError: As there.
        ShapeError: As there.
    """
    numbers = sorted(several[0], reverse=True)
    graphs = [captures[numbers[0]].graph for captures in several]
    for graph in graphs:
        _check_sizes(graph)
        _check_numbers(graph)
    _check_target(target)
    sizes = [split_graph(graph) for graph in graphs]
    if len({tuple(map(type, parts)) for parts in sizes}) > 1:
        raise CompileError(
            "PyTorch has to run operators of the network, and not the same ones for each of "
            "`shapes`; compile it for each by itself"
        )
    if options.tune != "estimate":
        chosen = {**tune_parts(sizes[0], target, options).chosen, **(chosen or {})}
    if options.strict:
        opaque = (part for parts in sizes for part in parts if isinstance(part, Opaque))
        refuse_fallbacks(list(map(Fallback.of, opaque)))
    programs = [captures[images] for captures in several for images in numbers]
    steps: list[list[Step]] = [[] for _ in programs]
    own = OwnTensors()
    with _telling_of_memory():
        for parts in zip(*sizes, strict=True):
            found = _compile_part(parts, numbers, target, options, chosen, keep=keep, own=own)
            for some, step in zip(steps, found, strict=True):
                some.append(step)
    if chosen:
        accounts = [step.account for step in steps[0] if isinstance(step, NativeStep)]
        check_names(chosen, (name for account in accounts for name in account.names))
    models = [
        CompiledModel(*program, target=target, options=options, chosen=None if number else chosen)
        for number, program in enumerate(zip(programs, steps, strict=True))
    ]
    return [
        dict(zip(numbers, models[first:], strict=False))
        for first in range(0, len(models), len(numbers))
    ]


def _compile_part(
    parts: Sequence[Part],
    numbers: Sequence[int],
    target: Target,
    options: CompileOptions,
    chosen: Mapping[str, Choices] | None,
    *,
    keep: bool,
    own: OwnTensors,
) -> list[Step]:
    """Return what runs a part of a network: for each size of images, for each number of them."""
    segments = [part for part in parts if isinstance(part, Segment)]
    if not segments:
        nodes = (own.copied(part) for part in parts if isinstance(part, Opaque))
        return [node for node in nodes for _ in numbers]
    graphs = [segment.graph for segment in segments]
    built = _find_or_build(graphs, target, options, chosen, keep=keep, numbers=numbers)
    memory = Memory(built.binary, options.thread_count)
    programs = (segment for segment in segments for _ in numbers)
    return [
        NativeStep(NativeFunction(memory, number), segment.takes, segment.gives, account)
        for number, (segment, account) in enumerate(zip(programs, built.accounts, strict=True))
    ]


def tune_model(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    seconds: float | None = None,
    watch: "Watch | None" = None,
    **options: Any,
) -> "Tuning":
    """Measure which ways of running its layers make a network the fastest here, and keep them.

    Whoever compiles it with `tune="measure"` then gets them; nothing is measured twice.

    Args:
        model: As for `compile_network`.
        example: As there.
        kwargs: As there.
        seconds: How long it may take, about; 30 for "measure" and 600 for "patient" if None.
        watch: Is called with how many variants have been measured, and how many there are.
        options: Those of `CompileOptions`; `tune` is "measure" if nothing is said.

    Returns:
        What was found for each layer; `print` it.
    """
    asked = CompileOptions.named({"tune": "measure"} | options)
    if asked.tune == "estimate":
        raise UnknownNameError(
            'to tune takes `tune="measure"` or "patient"; "estimate" measures nothing'
        )
    args, named = compile_arguments(example, kwargs)
    graph = capture(check_model(model), args, named).graph
    _check_sizes(graph)
    _check_numbers(graph)
    with _telling_of_memory():
        return tune_parts(
            split_graph(graph),
            calibrated_target(asked.numerics),
            asked,
            seconds=seconds,
            watch=watch,
        )


def tune_parts(
    parts: Sequence[Part],
    target: Target,
    options: CompileOptions,
    *,
    seconds: float | None = None,
    watch: "Watch | None" = None,
) -> "Tuning":
    """Tune the native parts of a network; see `tune_model`."""
    from onebyone.compiler.tune.tune import tune_graphs, unwatched

    graphs = [rewrite_graph(part.graph) for part in parts if not isinstance(part, Opaque)]
    return tune_graphs(graphs, target, options, seconds=seconds, watch=watch or unwatched)


def _find_or_build(
    graphs: Sequence[Graph],
    target: Target,
    options: CompileOptions,
    chosen: Mapping[str, Choices] | None,
    *,
    keep: bool,
    numbers: Sequence[int],
) -> Built:
    """Return a part of a network as native code: from the cache, or built and kept there.

    It has a program for each of its graphs, which are for images of several sizes, and for each of
    the `numbers` of images, of which they were captured with the first.
    """
    facts = [target.key, options.numerics, repr(sorted((chosen or {}).items()))]
    facts += [f"for {images} images" for images in numbers]
    key = graphs_key(graphs, *facts) if keep else None
    found = find_built(key) if key else None
    if found:
        return found
    whole = rewrite_alike(graphs)
    programs = [with_images(one, numbers[0], images) for one in whole for images in numbers]
    return build(programs, target, key, options, chosen)


@contextmanager
def _telling_of_memory() -> Generator[None]:
    """Turn what PyTorch and Python say when memory gives out into one line of ours."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise CompileError("there is not enough memory to compile the network") from error


def known_target(target: object, options: CompileOptions) -> Target:
    """Return a target, if it is one that has what the options ask for.

    Raises:
        CompileError: If not.
    """
    if not isinstance(target, Target):
        raise CompileError(
            f"`target` (={target!r}) must be a `Target`; `TARGETS` has them by name: "
            f"{', '.join(TARGETS)}"
        )
    if not is_able(target, options.numerics):
        does, _ = ABILITIES[options.numerics]
        able = ", ".join(one.name for one in TARGETS.values() if is_able(one, options.numerics))
        raise CompileError(
            f"`numerics` (={options.numerics!r}) needs a target that {does} ({able}); "
            f"{target.name!r} does not"
        )
    return target


def _check_target(target: Target) -> None:
    if not can_run(target):
        raise CompileError(
            f"this processor cannot run code for the target {target.name!r}; "
            f"the best that it can run is {host_target().name!r}"
        )


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
