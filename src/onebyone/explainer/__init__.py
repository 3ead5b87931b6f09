"""What the layers of a network cost."""

from onebyone.explainer.cost import CostReport, LayerCost, LayerKind, count_cost, count_graph

__all__ = ["CostReport", "LayerCost", "LayerKind", "count_cost", "count_graph"]
