"""What the 1x1 convolutions of a network do, cost, keep and add."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.explainer.ceilings import Ceilings
    from onebyone.explainer.cost import CostReport, LayerCost, LayerKind, count_cost, count_graph
    from onebyone.explainer.counterfactuals.counterfactual import Counterfactual
    from onebyone.explainer.explain import explain_network
    from onebyone.explainer.information import Information, Kept
    from onebyone.explainer.modules import ModuleCost
    from onebyone.explainer.nonlinearity import ActivationLayer, Nonlinearity
    from onebyone.explainer.report import Report
    from onebyone.explainer.specimen import Specimen
    from onebyone.explainer.speed import LayerTime, Speed
    from onebyone.explainer.structure.patterns import Pattern
    from onebyone.explainer.structure.roles import Pointwise, Role, Triple

__all__ = [
    "ActivationLayer",
    "Ceilings",
    "CostReport",
    "Counterfactual",
    "Information",
    "Kept",
    "LayerCost",
    "LayerKind",
    "LayerTime",
    "ModuleCost",
    "Nonlinearity",
    "Pattern",
    "Pointwise",
    "Report",
    "Role",
    "Specimen",
    "Speed",
    "Triple",
    "count_cost",
    "count_graph",
    "explain_network",
]

__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.explainer.cost": "CostReport LayerCost LayerKind count_cost count_graph",
        "onebyone.explainer.counterfactuals.counterfactual": "Counterfactual",
        "onebyone.explainer.explain": "explain_network",
        "onebyone.explainer.information": "Information Kept",
        "onebyone.explainer.modules": "ModuleCost",
        "onebyone.explainer.nonlinearity": "ActivationLayer Nonlinearity",
        "onebyone.explainer.report": "Report",
        "onebyone.explainer.structure.patterns": "Pattern",
        "onebyone.explainer.structure.roles": "Pointwise Role Triple",
        "onebyone.explainer.specimen": "Specimen",
        "onebyone.explainer.ceilings": "Ceilings",
        "onebyone.explainer.speed": "LayerTime Speed",
    },
)
