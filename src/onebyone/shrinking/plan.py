"""What will be done to a network, before anything is done to it."""

# pyright: reportImportCycles=false
# What a plan can do is imported when it is asked for.

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onebyone.bench.measure import Watch, unwatched
from onebyone.nn.edits import Edit, FoldNorm
from onebyone.packages import require
from onebyone.shrinking.budget import Budget
from onebyone.shrinking.changes import Change
from onebyone.shrinking.evidence import Evidence

if TYPE_CHECKING:
    from torch import nn

    from onebyone.shrinking.images import CalibrationSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one layer, and what that is expected to come to.

    Attributes:
        change: The layer, and what is done to it.
        loss: How much the network's loss should rise by it, in nats an image; that of a hidden
            width stands with the layer that gives it.
        kept_in: Which of the channels that it reads are left, by number; None if all are.
        kept_out: Which of the channels that it gives are left.
        seconds: How long it took by itself as it was, and what takes its place; None where the
            budget is of multiply-adds.
    """

    change: Change
    loss: float = 0.0
    kept_in: tuple[int, ...] | None = None
    kept_out: tuple[int, ...] | None = None
    seconds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What the whole network costs, before and after.

    Attributes:
        macs: Multiply-adds for one image.
        seconds: Medians, measured side by side; None where the budget is of multiply-adds.
        predicted_seconds: What the layers' times said the small network would take.
    """

    macs: tuple[int, int]
    seconds: tuple[float, float] | None = None
    predicted_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkPlan:
    """What will be done to a network to meet a budget; print it, then apply it.

    Attributes:
        model: What people call the network.
        budget: What was asked for.
        folds: Batch norms that become part of the convolution before them.
        decisions: What becomes of each layer that could have been changed, in the order in which
            they run.
        left_alone: Why other layers stay as they are, by path.
        whole: What the network costs, before and after.
        conditions: What was measured with: runtime, threads, batch, machine.
        images: How many images it was decided on.
        evidence: What it was decided on; not part of a plan that is kept as JSON.
    """

    model: str
    budget: Budget
    folds: tuple[FoldNorm, ...]
    decisions: tuple[Decision, ...]
    left_alone: Mapping[str, str]
    whole: Whole
    conditions: Mapping[str, str | int]
    images: int
    evidence: Evidence | None = field(default=None, compare=False, repr=False)

    @property
    def loss(self) -> float:
        """How much the network's loss should rise, in nats an image."""
        return sum(decision.loss for decision in self.decisions)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All that is done to the structure, in order."""
        changed = (one.change.edit for one in self.decisions)
        return (*self.folds, *(edit for edit in changed if edit is not None))

    def apply(
        self,
        model: "nn.Module",
        data: "CalibrationSource | None" = None,
        *,
        watch: Watch = unwatched,
    ) -> "nn.Module":
        """Return the small network; `model` stays as it is.

        Layers are solved from front to back: each one anew, so that on what the layers before it
        give now it comes as close as it can to what the original gives there.

        Args:
            model: The network that the plan was made for.
            data: Images, as for `plan_shrink`; by default those that the plan was made on, which a
                plan read from JSON does not have.
            watch: Shows a person how far it has come.

        Raises:
            ShrinkError: If it is another network, or the plan has no images and none are given.
        """
        from onebyone.shrinking.apply import apply_plan

        return apply_plan(self, model, data, watch=watch)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values, without the images."""
        from onebyone.shrinking.plan_json import plan_to_json

        return plan_to_json(self)

    def __str__(self) -> str:
        """Show the plan as a table.

        Raises:
            MissingPackageError: If Rich, which draws it, is not installed.
        """
        require("a plan as text", "rich")
        from onebyone.shrinking.plan_text import plan_to_text

        return plan_to_text(self)
