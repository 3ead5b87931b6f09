"""A plan that is being made, and what nodes are lowered with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.emit.record import Work
from onebyone.compiler.kernels.fill import FillKernel, fill_work
from onebyone.compiler.kernels.kernel import Kernel, Operation
from onebyone.compiler.memory.buffers import Buffer, Region
from onebyone.compiler.memory.constants import Constants
from onebyone.compiler.memory.placement import Placement
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph, Node
from onebyone.graph.words import kind_of


@dataclass(slots=True)
class PlanBuilder:
    """Hold what there is of a plan so far.

    Args:
        graph: Where the nodes come from.
        target: Processor.
        options: What was asked for.
        placement: Where values lie.
        choices: How nodes run.
        constants: Weights and tables so far.
        operations: In an order in which they can run.
        after: For each operation, the numbers of those that must be done before.
        writers: For each node, the numbers of the operations that make its value.
        buffers: Those that are written to, by name.
        views: Nodes without operations, and why.
    """

    graph: Graph
    target: Target
    options: CompileOptions
    placement: Placement
    choices: Mapping[str, Choices]
    constants: Constants
    operations: list[Operation] = field(default_factory=list)
    after: list[tuple[int, ...]] = field(default_factory=list)
    writers: dict[str, list[int]] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    views: list[tuple[str, str]] = field(default_factory=list)
    _cleared: dict[str, int] = field(default_factory=dict)

    def region(self, name: str) -> Region:
        """Return where a node's value lies."""
        return self.placement.regions[name]

    def convolution(self, name: str) -> Convolution:
        """Return the convolution of that name."""
        node = self.graph[name]
        assert isinstance(node, Convolution), name
        return node

    def add(
        self,
        node: Node,
        kernel: Kernel,
        work: Work,
        *,
        chunks: int,
        target: Region,
        sources: Iterable[str] | None = None,
        after: Iterable[int] = (),
        through: Iterable[Buffer] = (),
        stages: tuple[Operation, ...] = (),
        scratch: int = 0,
        macs: int = 0,
        purpose: str = "",
        note: str = "",
    ) -> None:
        """Add an operation that makes (part of) a node's value, from those of `sources`.

        They are the node's inputs, if nothing else is said. It may also come `after` operations for
        the same node and read what these wrote (`through`), be made of `stages`, and need floats of
        `scratch` memory. One that is not the node's first says its `purpose`.
        """
        sources = tuple(node.inputs if sources is None else sources)
        made = self.writers.setdefault(node.name, [])
        reads = [self.region(source).buffer for source in sources]
        if target in (self.region(source) for source in sources):
            note = ", ".join(filter(None, [note, "in place"]))
        operation = Operation(
            name=f"{node.name} {len(made) + 1}" if made else node.name,
            path=node.path,
            what="by rows" if stages else purpose if made else kind_of(node),
            kernel=kernel,
            work=work,
            chunks=chunks,
            reads=tuple(dict.fromkeys(buffer.name for buffer in (*reads, *through))),
            writes=target.buffer.name,
            stages=stages,
            scratch=scratch,
            macs=macs,
            note=note,
        )
        writers = (writer for source in sources for writer in self.writers[source])
        before = (*writers, *after)
        made.append(self.append(operation, before))
        self.buffers |= {buffer.name: buffer for buffer in (target.buffer, *through)}
        if any(target.buffer.border):
            made.append(self._clear_border(node, target.buffer, before))

    def append(self, operation: Operation, after: tuple[int, ...]) -> int:
        """Add an operation that must wait for others; return its number."""
        self.operations.append(operation)
        self.after.append(after)
        return len(self.operations) - 1

    def _clear_border(self, node: Node, buffer: Buffer, after: tuple[int, ...]) -> int:
        """Return who sets the border to zero: beside the first who writes to the buffer."""
        if buffer.name not in self._cleared:
            inside = Region(buffer=buffer, channels=buffer.shape[1])
            operation = Operation(
                name=f"{buffer.name} border",
                path=node.path,
                what="border",
                kernel=FillKernel(value=0.0),
                work=fill_work(self.constants, inside, buffer.border),
                chunks=buffer.shape[0],
                reads=(),
                writes=buffer.name,
                note="zeros around the image",
            )
            self._cleared[buffer.name] = self.append(operation, after)
        return self._cleared[buffer.name]
