"""The network that is drawn, at every station of its road."""

from dataclasses import dataclass

import torch

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
