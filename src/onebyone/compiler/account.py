"""What native code does and which captured layers it computes: an account for people.

It is kept with the code, since neither rewrites nor a plan are made when code comes from the cache.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from onebyone.graph import Fate, Graph
from onebyone.graph.words import joined

if TYPE_CHECKING:
    from onebyone.compiler.kernels.kernel import Operation
    from onebyone.compiler.plan.plan import ExecutionPlan


@dataclass(frozen=True, slots=True)
class Layer:
    """Say how one operation is done, for people.

    Args:
        name: Of the graph's node that it computes; that and a word if it only helps to.
        path: Modules that it came from, with " + " between them; "" where none is known.
        kind: What it is, in the words of the field: "1x1 convolution"; "border" or the like if it
            only helps to compute a node.
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
class Account:
    """Say what native code does, and for which layers.

    Args:
        layers: How operations are done, in the order in which they run.
        views: Nodes that cost nothing, and why.
        changed: What rewrites made of the captured layers, as `Graph.fates` has it.
    """

    layers: tuple[Layer, ...]
    views: Mapping[str, str]
    changed: Mapping[str, Fate]

    @classmethod
    def of(cls, graph: Graph, plan: "ExecutionPlan") -> Self:
        """Describe how a graph runs."""
        layers = (
            _layer(operation, number)
            for number, group in enumerate(plan.groups)
            for operation in group
        )
        inputs = {node.name for node in graph.inputs}
        fates = {name: fate for name, fate in graph.fates.items() if name not in inputs}
        return cls(tuple(layers), dict(plan.views), fates)

    @property
    def names(self) -> set[str]:
        """Names of all that is computed, or lies somewhere."""
        stages = (stage for layer in self.layers for stage in (layer, *layer.stages))
        return {stage.name for stage in stages} | set(self.views)

    def as_json(self) -> dict[str, Any]:
        """Return it as `json` can write it."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "views": dict(self.views),
            "changed": {name: [list(fate.nodes), fate.why] for name, fate in self.changed.items()},
        }

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> Self:
        """Return what was written.

        Raises:
            KeyError, TypeError, ValueError: If it was something else.
        """
        changed = {name: Fate(tuple(nodes), why) for name, (nodes, why) in facts["changed"].items()}
        return cls(tuple(map(_read_layer, facts["layers"])), facts["views"], changed)


def _layer(operation: "Operation", group: int) -> Layer:
    stages = tuple(_layer(stage, group) for stage in operation.stages)
    return Layer(
        name=operation.name,
        path=" + ".join(stage.path for stage in stages if stage.path) or operation.path,
        kind=operation.what,
        macs=operation.macs,
        note=operation.note,
        group=group,
        chunks=operation.chunks,
        stages=stages,
    )


def _read_layer(facts: Mapping[str, Any]) -> Layer:
    known: dict[str, Any] = {**facts, "stages": tuple(map(_read_layer, facts["stages"]))}
    return Layer(**known)
