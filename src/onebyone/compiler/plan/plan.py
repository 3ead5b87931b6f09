"""Every decision about how a graph runs, as a value that can be printed.

choices -> placement -> operations -> groups -> memory. Nothing is decided after this; emitting
code only writes down what the plan says.
"""

# pyright: reportImportCycles=false
# `ExecutionPlan.__str__` imports `show` when it is called.

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.choose.check import check_choices
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.choose import NO_LAYOUTS, Layouts, choose, layouts_of
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Operation
from onebyone.compiler.kernels.lower import lower
from onebyone.compiler.memory.arena import SLACK, Lifetime, aligned, place_buffers
from onebyone.compiler.memory.buffers import Buffer
from onebyone.compiler.memory.constants import Constants
from onebyone.compiler.memory.formats import FP32
from onebyone.compiler.memory.placement import place_values
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Graph, Ref, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """Say what runs when, on which memory.

    Args:
        choices: How nodes and outputs run, by name.
        groups: Operations in order; those of one group do not depend on each other.
        lifetimes: Of the arena's buffers, in groups.
        arena_offsets: Float at which each of them starts.
        arena_size: Floats of the arena.
        scratch_size: Floats of each thread's own memory.
        constants: Where packed weights and tables lie, and how they are computed.
        layouts: In which order weights lie there, of this plan and of those that it is like.
        inputs: Shapes of the caller's tensors.
        outputs: Values that are given back, with their shapes.
        views: Nodes that cost nothing, and why.
    """

    choices: Mapping[str, Choices]
    groups: tuple[tuple[Operation, ...], ...]
    lifetimes: tuple[Lifetime, ...]
    arena_offsets: Mapping[str, int]
    arena_size: int
    scratch_size: int
    constants: Constants
    layouts: Layouts
    inputs: tuple[Shape, ...]
    outputs: tuple[tuple[Ref, Shape], ...]
    views: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Show what runs, how, why, and what the cost model expects it to take."""
        from onebyone.compiler.plan.show import show_plan

        return show_plan(self)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations, in order."""
        return tuple(operation for group in self.groups for operation in group)


def plan_execution(
    graph: Graph,
    target: Target,
    options: CompileOptions = DEFAULT_OPTIONS,
    chosen: Mapping[str, Choices] | None = None,
    like: ExecutionPlan | None = None,
) -> ExecutionPlan:
    """Decide how a graph without opaque nodes runs on a processor.

    Args:
        graph: What is to run.
        target: Processor.
        options: Of these, what results promise.
        chosen: How some nodes are to run, by name, in place of what the cost model says.
        like: The plan of a graph of the same network, whose inputs have other shapes. Both then
            have the same constants in memory: weights are read in the same order where the
            algorithm is the same.

    Raises:
        CompileError: If a node cannot run as is chosen.
    """
    known = like.layouts if like else NO_LAYOUTS
    choices = choose(graph, target, options, known)
    # Other names are those of other parts of the network.
    chosen = {name: one for name, one in (chosen or {}).items() if name in choices}
    choices |= chosen
    check_choices(graph, target, options, choices, chosen)
    constants = like.constants if like else Constants()
    values = place_values(graph, choices, options.values)
    builder = PlanBuilder(graph, target, options, values, choices, constants)
    lower(builder)
    groups = _form_groups(builder)
    lifetimes = _lifetimes(groups, builder.buffers)
    offsets = place_buffers(lifetimes)
    size = max((offsets[life.name] + life.size for life in lifetimes), default=0)
    return ExecutionPlan(
        choices=choices,
        groups=groups,
        lifetimes=lifetimes,
        arena_offsets=offsets,
        arena_size=aligned(size) + SLACK + _reach(builder.buffers.values()),
        scratch_size=aligned(max((one.scratch for one in builder.operations), default=0)) + SLACK,
        constants=constants,
        layouts={**layouts_of(choices), **known},
        inputs=tuple(node.shape for node in graph.inputs),
        outputs=tuple((ref, graph[ref.name].shape) for ref in graph.outputs),
        views=tuple(builder.views),
    )


def _reach(buffers: Iterable[Buffer]) -> int:
    """Return the floats that a tile which is not full may read behind the last value."""
    return aligned(max((one.pixel_stride for one in buffers if one.format != FP32), default=0))


def _form_groups(builder: PlanBuilder) -> tuple[tuple[Operation, ...], ...]:
    """Put each operation behind all that it depends on, as early as that allows."""
    levels: list[int] = []
    groups: dict[int, list[Operation]] = {}
    for operation, after in zip(builder.operations, builder.after, strict=True):
        level = 1 + max((levels[number] for number in after), default=-1)
        levels.append(level)
        groups.setdefault(level, []).append(operation)
    return tuple(tuple(groups[level]) for level in sorted(groups))


def _lifetimes(
    groups: Sequence[Sequence[Operation]], buffers: Mapping[str, Buffer]
) -> tuple[Lifetime, ...]:
    """A buffer lives from the first group that writes to it to the last that reads it."""
    steps: dict[str, list[int]] = {}
    for step, group in enumerate(groups):
        for operation in group:
            for name in (operation.writes, *operation.reads):
                if name in buffers and buffers[name].base == BaseWord.ARENA:
                    steps.setdefault(name, []).append(step)
    return tuple(
        Lifetime(name, min(found), max(found), buffers[name].size) for name, found in steps.items()
    )
