"""What all ways to compute a convolution ask: what it reads, and where it writes to."""

from dataclasses import dataclass

from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.memory.buffers import Region, Strided
from onebyone.graph import Convolution


@dataclass(frozen=True, slots=True)
class Operands:
    """What a convolution reads, what is added to its sums, and where they go."""

    source: Region
    residual: Region | None
    target: Region

    def first_source(self, node: Convolution) -> Strided:
        """Return where the first output reads the kernel's first number."""
        top, _, left, _ = node.padding
        return self.source.strided(-top, -left)

    @property
    def other(self) -> Region:
        """The residual; without one, anything that has a place."""
        return self.residual or self.target


def operands_of(builder: PlanBuilder, node: Convolution) -> Operands:
    """Return what a convolution of whole images works on."""
    residual = builder.region(node.inputs[1]) if node.inputs[1:] else None
    return Operands(builder.region(node.inputs[0]), residual, builder.region(node.name))
