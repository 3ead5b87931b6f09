"""The network that is drawn, at every station of its road."""

from dataclasses import dataclass

import torch

from onebyone.compiler.kernels.dense.kernel import ConvolutionKernel, ConvolutionWork
from onebyone.compiler.kernels.kernel import Operation
from onebyone.compiler.plan.plan import ExecutionPlan, plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.target import Target
from onebyone.graph import Graph, capture


@dataclass(frozen=True, slots=True)
class Subject:
    """A network on its road; it has no operator that PyTorch must run.

    Args:
        captured: Layer by layer, as PyTorch ran it.
        rewritten: What is left to compute; its `fates` say where each layer went.
        plan: What runs when, on which memory.
        target: Processor that it is planned for.
    """

    captured: Graph
    rewritten: Graph
    plan: ExecutionPlan
    target: Target

    @classmethod
    def of(cls, model: torch.nn.Module, example: torch.Tensor, target: Target) -> "Subject":
        """Take a network along the road, as far as a plan."""
        captured = capture(model, (example,)).graph
        rewritten = rewrite_graph(captured)
        return cls(captured, rewritten, plan_execution(rewritten, target), target)

    def operation(self, name: str) -> Operation:
        """Return an operation by the node that it computes.

        Raises:
            LookupError: If there is none.
        """
        found = [one for one in self.plan.operations if one.name == name]
        if not found:
            raise LookupError(f"no operation {name!r}; the plan has those that run alone by name")
        return found[0]

    def tiled(self, name: str) -> tuple[ConvolutionKernel, ConvolutionWork]:
        """Return kernel and work of a convolution that runs alone, as tiles of a product.

        Raises:
            LookupError: If there is none of that name.
        """
        operation = self.operation(name)
        kernel, work = operation.kernel, operation.work
        if not isinstance(kernel, ConvolutionKernel) or not isinstance(work, ConvolutionWork):
            raise LookupError(f"{name!r} is {operation.what}, and not a product in tiles")
        return kernel, work
