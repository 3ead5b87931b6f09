"""From a graph without opaque nodes to a function that can be called, or from the cache."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from onebyone.compiler.cache import read_entry, write_entry
from onebyone.compiler.jit import compile_module, load_object
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.runtime.native import Binary
from onebyone.compiler.target import Target
from onebyone.compiler.words import joined, kind_of
from onebyone.errors import CompileError
from onebyone.graph import Fate, Graph, View

if TYPE_CHECKING:
    from onebyone.compiler.plan.operations import Operation
    from onebyone.compiler.plan.plan import ExecutionPlan


@dataclass(frozen=True, slots=True)
class Layer:
    """Say how one operation is done, for people.

    Args:
        name: Of the graph's node that it computes; that and a word if it only helps to.
        path: Modules that it came from, with " + " between them; "" where none is known.
        kind: What it is, in the words of the field: "1x1 convolution"; one of `HELPERS` if it only
            helps to compute a node.
        macs: Multiply-adds for all images.
        note: Tile, order of loops, what it is for.
        group: Number of its group; operations of one group run side by side.
        chunks: Into how many parts it is cut for the threads.
        stages: What it consists of, if it computes several nodes together.
    """

    name: str
    path: str
    kind: str
    macs: int
    note: str
    group: int
    chunks: int
    stages: "tuple[Layer, ...]" = ()

    @property
    def place(self) -> str:
        """What a person should be told of where this is: the modules' paths, or the name."""
        return joined(self.path.split(" + ")) if self.path else self.name


@dataclass(frozen=True, slots=True)
class Built:
    """Machine code in this process, and what it does.

    Args:
        binary: The code.
        layers: How operations are done, in the order in which they run.
        views: Nodes that cost nothing, and why.
        changed: What rewrites made of the captured layers, as the graph says it.
    """

    binary: Binary
    layers: tuple[Layer, ...]
    views: tuple[tuple[str, str], ...]
    changed: Mapping[str, Fate]


def build(
    graph: Graph,
    target: Target,
    key: str | None,
    options: CompileOptions = DEFAULT_OPTIONS,
) -> Built:
    """Plan, write and compile a graph; keep it under `key` unless that is None.

    Raises:
        CompileError: If memory or LLVM gives out.
    """
    # What comes from the cache needs neither, and they take a tenth of a second to import.
    from onebyone.compiler.emit.network import emit_network
    from onebyone.compiler.plan.plan import plan_execution

    plan = plan_execution(graph, target, options)
    description = _describe(graph, plan)
    module = emit_network(plan, target)
    # LLVM leaves Python's lock free, so weights are packed and written while it is busy.
    with ThreadPoolExecutor(max_workers=1) as beside:
        code = beside.submit(compile_module, module, target)
        constants = plan.constants.block()
        if key is not None:
            write_entry(key, description, constants, code.result)
    return _load(description, code.result(), constants)


def find_built(key: str) -> Built | None:
    """Return what is kept under that key, or None."""
    entry = read_entry(key)
    try:
        return None if entry is None else _load(*entry)
    except (CompileError, KeyError, TypeError, ValueError):
        return None  # as good as damaged


BAND = "by rows"
"""How several convolutions run together."""

HELPERS = {
    "TransformKernel": "transform",
    "FillKernel": "border",
    "WriteKernel": "output",
    "ElementwiseKernel": "copy",
}
"""What operations that only help to compute a node are, by the name of their kernel."""


def _describe(graph: Graph, plan: "ExecutionPlan") -> dict[str, Any]:
    layers = [
        asdict(_layer(graph, operation, number))
        for number, group in enumerate(plan.groups)
        for operation in group
    ]
    return {
        "layers": layers,
        "views": [list(view) for view in plan.views],
        "changed": {layer: [list(fate.nodes), fate.why] for layer, fate in graph.changed.items()},
        "groups": len(plan.groups),
        "arena_size": plan.arena_size,
        "scratch_size": plan.scratch_size,
        "inputs": [list(shape) for shape in plan.inputs],
        "outputs": [[list(shape), ref.view.value] for ref, shape in plan.outputs],
    }


def _layer(graph: Graph, operation: "Operation", group: int) -> Layer:
    stages = tuple(_layer(graph, stage, group) for stage in operation.stages)
    if stages:
        kind = BAND
    elif operation.name in graph.nodes:
        kind = kind_of(graph[operation.name])
    else:
        kind = HELPERS[type(operation.kernel).__name__]
    return Layer(
        name=operation.name,
        path=" + ".join(stage.path for stage in stages if stage.path) or operation.path,
        kind=kind,
        macs=operation.macs,
        note=operation.note,
        group=group,
        chunks=operation.chunks,
        stages=stages,
    )


def _load(description: dict[str, Any], code: bytes, constants: torch.Tensor) -> Built:
    loaded = load_object(code, ("run", "prepare"))
    binary = Binary(
        loaded=loaded,
        groups=description["groups"],
        operations=len(description["layers"]),
        arena_size=description["arena_size"],
        scratch_size=description["scratch_size"],
        constants=constants,
        inputs=tuple(tuple(shape) for shape in description["inputs"]),
        outputs=tuple((tuple(shape), View(view)) for shape, view in description["outputs"]),
    )
    layers = tuple(map(_read_layer, description["layers"]))
    views = tuple((name, why) for name, why in description["views"])
    changed = {
        layer: Fate(tuple(nodes), why) for layer, (nodes, why) in description["changed"].items()
    }
    return Built(binary, layers, views, changed)


def _read_layer(facts: Mapping[str, Any]) -> Layer:
    known: dict[str, Any] = {**facts, "stages": tuple(map(_read_layer, facts["stages"]))}
    return Layer(**known)
