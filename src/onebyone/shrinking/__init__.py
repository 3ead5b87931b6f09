"""A network becomes narrower, and keeps its job."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.shrinking.analyse import ShrinkAnalysis, analyse_shrink
    from onebyone.shrinking.budget import LatencyBudget, MacsBudget, parse_budget
    from onebyone.shrinking.by_name import ShrinkResult, shrink, shrink_curve
    from onebyone.shrinking.plan import ShrinkPlan
    from onebyone.shrinking.planner import plan_shrink

__all__ = [
    "LatencyBudget",
    "MacsBudget",
    "ShrinkAnalysis",
    "ShrinkPlan",
    "ShrinkResult",
    "analyse_shrink",
    "parse_budget",
    "plan_shrink",
    "shrink",
    "shrink_curve",
]
__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.shrinking.analyse": "ShrinkAnalysis analyse_shrink",
        "onebyone.shrinking.budget": "LatencyBudget MacsBudget parse_budget",
        "onebyone.shrinking.by_name": "ShrinkResult shrink shrink_curve",
        "onebyone.shrinking.plan": "ShrinkPlan",
        "onebyone.shrinking.planner": "plan_shrink",
    },
)
