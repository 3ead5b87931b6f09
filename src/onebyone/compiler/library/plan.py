"""What a library will have, as a value that can be printed."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.fallback import MOST_NAMES, Fallback
from onebyone.compiler.library.facts import (
    NOTHING_KNOWN,
    About,
    TensorFacts,
    batch_of,
    input_facts,
    output_facts,
    treats_images_apart,
)
from onebyone.compiler.library.names import check_name
from onebyone.compiler.memory.arena import SLACK
from onebyone.compiler.memory.constants import Constants
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.plan.plan import ExecutionPlan, plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.split import Segment, split_graph
from onebyone.compiler.target import Target
from onebyone.errors import CompileError
from onebyone.graph import Captured, Graph, Opaque
from onebyone.graph.images import of_images, with_images

INPUT_AXES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """How the network runs on one kind of processor.

    Args:
        target: The processor.
        plans: For each number of images that there is code for, the largest first; they share their
            constants.
    """

    target: Target
    plans: tuple[ExecutionPlan, ...]

    @property
    def symbol(self) -> str:
        """The target's name as a part of names of C."""
        return self.target.name.replace("-", "_")

    @property
    def constants(self) -> Constants:
        """Packed weights and tables."""
        return self.plans[0].constants

    @property
    def constant_bytes(self) -> int:
        """Memory of these."""
        return 4 * (self.constants.size + SLACK)

    @property
    def scratch_bytes(self) -> int:
        """Each thread's own memory, in calls of any of the numbers of images."""
        return 4 * max(plan.scratch_size for plan in self.plans)

    @property
    def workspace_bytes(self) -> int:
        """Memory of any call on one thread, but for a few pages of counters."""
        return 4 * max(plan.arena_size for plan in self.plans) + self.scratch_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryPlan:
    """Say what a library will have; `print` it.

    Args:
        name: What its functions begin with.
        graph: What it computes, as it was captured, of the smallest number of images.
        targets: A plan for each kind of processor, the best first.
        inputs: In the order of the call.
        outputs: In the order of the result.
        batches: Numbers of images that there is code for, the smallest first.
        any_batch: Whether calls of several times the smallest number are several calls.
        about: How to feed it, and read its scores.
        embed: Whether the weights lie inside the library.
    """

    name: str
    graph: Graph
    targets: tuple[TargetPlan, ...]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    batches: tuple[int, ...]
    any_batch: bool
    about: About
    embed: bool

    @property
    def batch(self) -> int:
        """Images of the smallest call."""
        return self.batches[0]

    @property
    def tried(self) -> tuple[int, ...]:
        """Numbers of images that the library is tried with: each, and one that comes in parts."""
        return (*self.batches, self.batches[-1] + self.batch) if self.any_batch else self.batches

    @property
    def architecture(self) -> str:
        """The processors' architecture, as Linux calls it."""
        return self.targets[0].target.triple.partition("-")[0]

    def __str__(self) -> str:
        """Show the interface, and what each target needs."""
        shown = ", ".join(_shown(one) for one in self.inputs)
        given = ", ".join(_shown(one) for one in self.outputs)
        counts = f"{', '.join(map(str, self.batches))} image{'' if self.batches == (1,) else 's'}"
        some = "any size" if self.batch == 1 else f"multiples of {self.batch}"
        images = f"{counts} at once, in calls of {some}" if self.any_batch else f"{counts} a call"
        where = "inside the library" if self.embed else f"in {self.name}.weights"
        lines = [
            f"library {self.name} for {self.architecture}: {images}; weights {where}",
            f"reads {shown}; gives {given}",
            "",
            "target        operations  weights, MB  workspace, MB",
        ]
        lines += [
            f"{one.target.name:<12}  {len(one.plans[0].operations):>10}  "
            f"{one.constant_bytes / 1e6:>11.1f}  {one.workspace_bytes / 1e6:>13.1f}"
            for one in self.targets
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the interface as plain JSON values."""
        return {
            "name": self.name,
            "targets": [one.target.name for one in self.targets],
            "batch": self.batch,
            "batches": list(self.batches),
            "any_batch": self.any_batch,
            "inputs": {one.name: list(one.shape) for one in self.inputs},
            "outputs": {one.name: list(one.shape) for one in self.outputs},
        }


def _shown(one: TensorFacts) -> str:
    return f"{one.name} {'x'.join(map(str, one.shape))}"


def plan_library(
    captured: Captured,
    targets: Sequence[Target],
    *,
    name: str,
    options: CompileOptions = DEFAULT_OPTIONS,
    chosen: Mapping[str, Mapping[str, Choices]] | None = None,
    batches: Sequence[int] = (),
    about: About = NOTHING_KNOWN,
    embed: bool = False,
) -> LibraryPlan:
    """Plan a library.

    Args:
        captured: The network, with the largest number of images.
        targets: Processors, of one architecture.
        name: What its functions begin with.
        options: Of these, what results promise.
        chosen: By the name of a target, how some nodes are to run there, by theirs.
        batches: Numbers of images that there is to be code for, if the network computes each image
            by itself (`why_apart`); by default that of `captured`.
        about: How to feed it, and read its scores.
        embed: Whether the weights are to lie inside the library.

    Raises:
        CompileError: If the network has operators without native code, or writes into its inputs,
            or targets do not go together.
        UnknownNameError: If C cannot have the name.
    """
    check_name(name)
    ordered = _in_order(targets, options)
    segment = _only_segment(captured)
    whole = rewrite_graph(segment.graph)
    sizes = sorted(batches, reverse=True)
    graphs = [with_images(whole, sizes[0], images) for images in sizes] or [whole]
    plans = tuple(
        TargetPlan(
            target=target,
            plans=_plan_target(graphs, target, options, (chosen or {}).get(target.name)),
        )
        for target in ordered
    )
    images = _plan_images(captured.graph, sizes, segment.takes)
    inputs = input_facts(images.graph, segment.takes, images.growing)
    assert all(len(one.shape) == INPUT_AXES for one in inputs)  # others are PyTorch's to reshape
    return LibraryPlan(
        name=name,
        graph=images.graph,
        targets=plans,
        inputs=inputs,
        outputs=output_facts(images.graph, segment.gives, images.growing),
        batches=images.batches,
        any_batch=images.any_batch,
        about=about,
        embed=embed,
    )


def _plan_target(
    graphs: Sequence[Graph],
    target: Target,
    options: CompileOptions,
    chosen: Mapping[str, Choices] | None,
) -> tuple[ExecutionPlan, ...]:
    """Plan programs that share their constants, as `build` does."""
    first = plan_execution(graphs[0], target, options, chosen)
    return first, *(plan_execution(one, target, options, like=first) for one in graphs[1:])


@dataclass(frozen=True, slots=True)
class _Images:
    """How many images a call has: the graph of the smallest call, and what has a part for each."""

    graph: Graph
    batches: tuple[int, ...]
    any_batch: bool
    growing: Set[str]


def _plan_images(graph: Graph, sizes: Sequence[int], takes: Sequence[str]) -> _Images:
    """Say it of a graph that was captured with the first of the `sizes`, or of one without any."""
    if sizes:
        smallest = with_images(graph, sizes[0], sizes[-1])
        any_batch = all(images % sizes[-1] == 0 for images in sizes)
        return _Images(smallest, tuple(reversed(sizes)), any_batch, of_images(graph, sizes[0]))
    batch = batch_of([graph[name].shape for name in takes])
    any_batch = treats_images_apart(graph, batch)
    return _Images(graph, (batch,), any_batch, {node.name for node in graph if any_batch})


def _in_order(targets: Sequence[Target], options: CompileOptions) -> list[Target]:
    """Return targets with the fastest first; the first that a processor can run is taken."""
    architectures = {one.triple.partition("-")[0] for one in targets}
    if len(architectures) != 1:
        raise CompileError(
            f"a library is for one architecture; got targets of {' and '.join(architectures)}: "
            "export once for each"
        )
    if options.numerics == "bf16" and not all(one.bf16 for one in targets):
        raise CompileError(
            "`numerics` (='bf16') needs targets that multiply bfloat16 (amx, avx512-bf16); got "
            f"{', '.join(one.name for one in targets)}"
        )
    return sorted(targets, key=lambda one: (one.bf16 == "tiles", one.lanes), reverse=True)


def _only_segment(captured: Captured) -> Segment:
    """Return the network as one piece of native code.

    Raises:
        CompileError: If it is none.
    """
    parts = split_graph(captured.graph)
    fallbacks = [Fallback.of(part) for part in parts if isinstance(part, Opaque)]
    if fallbacks:
        names = list(dict.fromkeys(map(str, fallbacks)))
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        raise CompileError(
            f"a library has no PyTorch to run what has no native code: "
            f"{', '.join(names[:MOST_NAMES])}{more}"
        )
    if captured.written:
        raise CompileError("a library cannot be made of a network that writes into its inputs")
    segments = [part for part in parts if isinstance(part, Segment)]
    given = set(segments[0].gives) if segments else set()
    if len(segments) != 1 or not {ref.name for ref in captured.graph.outputs} <= given:
        raise CompileError("a library cannot be made of a network that gives back its input as is")
    return segments[0]
