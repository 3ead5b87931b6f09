"""The whole road from a network to native code.

capture -> split -> for each native part: find it, or rewrite, choose, plan, emit and load it.
Parts are split off before they are rewritten, so that what is found need not be rewritten again.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onebyone.compiler.batched import BatchedModel, check_batch
from onebyone.compiler.build import Built, build, find_built
from onebyone.compiler.choose.check import check_names
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.example import check_model, compile_arguments, examples_of, sized_examples
from onebyone.compiler.fallback import Fallback, refuse_fallbacks
from onebyone.compiler.key import graphs_key
from onebyone.compiler.machine.calibrate import calibrated_target
from onebyone.compiler.model import CompiledModel, NativeStep, Step
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.runtime.opaque import with_own_tensors
from onebyone.compiler.shaped import ShapedModel, check_shapes, show_sizes
from onebyone.compiler.sharing import SharedTensors, rewrite_alike
from onebyone.compiler.split import Part, Segment, split_graph
from onebyone.compiler.target import ABILITIES, TARGETS, Target, can_run, host_target, is_able
from onebyone.errors import CompileError, ModelError, ShapeError, UnknownNameError, located
from onebyone.graph import Captured, Graph, Opaque, capture
from onebyone.graph.images import first_difference, why_joined, with_images

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
    machine = _known(target or calibrated_target(asked.numerics), asked)
    model = check_model(model)
    args, named = compile_arguments(example, kwargs)
    captured = capture(model, args, named)
    return compile_captured(captured, target=machine, options=asked, chosen=chosen, keep=keep)


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
    machine = _known(target or calibrated_target(asked.numerics), asked)
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
    machine = _known(target or calibrated_target(asked.numerics), asked)
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
    compiled = _compile_several(several, machine, asked)
    return ShapedModel(
        {
            pair: BatchedModel(models, is_any=batch == "any") if numbers else models[1]
            for pair, models in zip(pairs, compiled, strict=True)
        }
    )


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
    machine = _known(target or calibrated_target(asked.numerics), asked)
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
    _check_sizes(captured.graph)
    _check_numbers(captured.graph)
    _check_target(target)
    parts = split_graph(captured.graph)
    if options.tune != "estimate":
        chosen = {**tune_parts(parts, target, options).chosen, **(chosen or {})}
    if options.strict:
        refuse_fallbacks([Fallback.of(part) for part in parts if isinstance(part, Opaque)])
    with _telling_of_memory():
        steps: list[Step] = []
        for part in with_own_tensors(parts):
            if isinstance(part, Opaque):
                steps.append(part)
                continue
            built = _find_or_build([part.graph], target, options, chosen, keep=keep)
            function = NativeFunction(Memory(built.binary, options.thread_count))
            steps.append(NativeStep(function, part.takes, part.gives, built.accounts[0]))
    if chosen:
        accounts = [step.account for step in steps if isinstance(step, NativeStep)]
        check_names(chosen, (name for account in accounts for name in account.names))
    return CompiledModel(captured, steps, target=target, options=options, chosen=chosen)


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
    (models,) = _compile_several([several], target, options)
    return BatchedModel(models, is_any=is_any)


def _compile_several(
    several: Sequence[Mapping[int, Captured]], target: Target, options: CompileOptions
) -> list[dict[int, CompiledModel]]:
    """Compile a network for inputs of several shapes: one copy of the weights, one working memory.

    Args:
        several: For each size of images, the largest first, what was captured by the number of
            images, of which there are the same for all.
        target: As for `compile_captured`.
        options: As there.
    """
    numbers = sorted(several[0], reverse=True)
    wholes = [captures[numbers[0]].graph for captures in several]
    for whole in wholes:
        _check_sizes(whole)
        _check_numbers(whole)
    _check_target(target)
    split = [split_graph(whole) for whole in wholes]
    kinds = [[type(part) for part in parts] for parts in split]
    if kinds != kinds[:1] * len(kinds):
        raise CompileError(
            "PyTorch has to run operators of the network, and not the same ones for each of "
            "`shapes`; compile it for each by itself"
        )
    # Layers are tuned for the largest shape; for others, weights lie as for this one.
    chosen = {} if options.tune == "estimate" else tune_parts(split[0], target, options).chosen
    parts = [part for some in split for part in some]
    if options.strict:
        refuse_fallbacks([Fallback.of(part) for part in parts if isinstance(part, Opaque)])
    steps: list[dict[int, list[Step]]] = [{images: [] for images in numbers} for _ in several]
    with _telling_of_memory():
        own = with_own_tensors(parts)
        for position in range(len(split[0])):
            _add_steps(steps, own[position :: len(split[0])], numbers, target, options, chosen)
    return [
        {
            images: CompiledModel(captures[images], some[images], target=target, options=options)
            for images in numbers
        }
        for captures, some in zip(several, steps, strict=True)
    ]


def _add_steps(
    steps: Sequence[Mapping[int, list[Step]]],
    parts: Sequence[Part],
    numbers: Sequence[int],
    target: Target,
    options: CompileOptions,
    chosen: Mapping[str, Choices],
) -> None:
    """Add a part of a network, which is there for each size of images, for each number of them."""
    for some, part in zip(steps, parts, strict=True):
        if isinstance(part, Opaque):
            for images in numbers:
                some[images].append(part)
    segments = [part for part in parts if isinstance(part, Segment)]
    if not segments:
        return
    graphs = [part.graph for part in segments]
    built = _find_or_build(graphs, target, options, chosen, keep=True, numbers=numbers)
    memory = Memory(built.binary, options.thread_count)
    programs = enumerate(built.accounts)
    for some, part in zip(steps, segments, strict=True):
        for images in numbers:
            number, account = next(programs)
            function = NativeFunction(memory, number)
            some[images].append(NativeStep(function, part.takes, part.gives, account))


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
    numbers: Sequence[int] = (1,),
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


def _check_apart(several: Mapping[int, Captured]) -> None:
    """Check that code can be made for several numbers of images.

    Raises:
        CompileError: If it cannot.
    """
    if reason := _why_apart(several):
        raise CompileError(
            f"the network cannot be compiled for several numbers of images ({reason}); leave out "
            "`batch`, and compile it for each number"
        )


def _why_apart(several: Mapping[int, Captured]) -> str:
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


@contextmanager
def _telling_of_memory() -> Generator[None]:
    """Turn what PyTorch and Python say when memory gives out into one line of ours."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise CompileError("there is not enough memory to compile the network") from error


def _known(target: object, options: CompileOptions) -> Target:
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
