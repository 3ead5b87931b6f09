"""From a network, images and a budget to a plan."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain as joined

import torch
from torch import Tensor, nn

from onebyone.bench.measure import Watch, unwatched
from onebyone.errors import InfeasibleBudget, ShrinkError
from onebyone.nn.edits import Factorise, FoldNorm
from onebyone.shrinking.apply import evidence_of, folded_copy, restructured
from onebyone.shrinking.budget import Budget, LatencyBudget
from onebyone.shrinking.changes import Change
from onebyone.shrinking.costs import Costs, Knapsack, fill_knapsack, macs_costs
from onebyone.shrinking.evidence import Evidence
from onebyone.shrinking.images import CalibrationSource, calibration_images
from onebyone.shrinking.judge import Judgement, judge
from onebyone.shrinking.moments import collect_moments
from onebyone.shrinking.plan import Decision, ShrinkPlan, Whole
from onebyone.shrinking.proposals import Way, all_changes, find_chains
from onebyone.shrinking.ranks import Align, make_offer
from onebyone.shrinking.runtimes import find_runtime
from onebyone.shrinking.survey import Survey, survey
from onebyone.shrinking.timing import Setting, measure_whole, time_layers

ROUNDS = 6
"""How often a network is rebuilt and timed, at most: layers' times do not add up to the whole's."""

NEAR = (0.93, 1.02)
"""What the measured time may be, as a share of the budget, for the search to end."""

TOLERANCE = 1.1
"""What it may be, at most, for the plan to be given out at all."""


def plan_shrink(
    model: nn.Module,
    data: CalibrationSource,
    *,
    budget: Budget,
    runtime: str = "compiled",
    example: Tensor | None = None,
    align: Align = "auto",
    keep: Collection[str] = (),
    threads: int | None = None,
    name: str | None = None,
    seed: int = 0,
    watch: Watch = unwatched,
) -> ShrinkPlan:
    """Plan how a network becomes narrower and keeps its job, within a budget.

    No labels and no training are needed: one pass over some hundred images, forth and back, says
    what every way to narrow a layer would cost in quality.

    Args:
        model: The network, its weights trained; it is left as it is.
        data: Images like those that it will see, unlabelled: a tensor `(N, C, H, W)`, batches, or
            the data of a training; 256 to 1024 are enough.
        budget: `LatencyBudget(0.5)` for half of the measured time, `MacsBudget(0.5)` for half of
            the multiply-adds.
        runtime: What the network will run on, and is timed on: "compiled", "eager" or
            "onnxruntime".
        example: What it will be run on, `(N, C, H, W)`; by default one of the images.
        align: Numbers of channels are multiples of this; "auto" for what the runtime's vectors
            like.
        keep: Paths of layers that stay as they are.
        threads: Threads to time with; by default those that PyTorch would use.
        name: What people call the network.
        seed: What is random depends on it: the answers that gradients are taken of.
        watch: Shows a person how far it has come.

    Raises:
        InfeasibleBudget: If no network is that cheap; says what the smallest budget is.
        ShrinkError: If nothing of the network can be changed, or the images do not serve.
    """
    prepared = prepare_shrink(
        model,
        data,
        runtime=runtime,
        example=example,
        align=align,
        keep=keep,
        threads=threads,
        name=name,
        seed=seed,
        watch=watch,
    )
    return prepared.plan(budget, watch=watch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A network that has been looked at, for which plans can be made for any budget.

    Attributes:
        model: What people call it.
        original: The network, with batch norms folded.
        folds: These norms.
        found: What may be changed in it.
        judgement: What each change would cost in quality.
        evidence: What was looked at.
        setting: What times are measured with.
    """

    model: str
    original: nn.Module
    folds: tuple[FoldNorm, ...]
    found: Survey
    judgement: Judgement
    evidence: Evidence
    setting: Setting

    def plan(self, budget: Budget, *, watch: Watch = unwatched) -> ShrinkPlan:
        """Return the plan that loses least within a budget.

        Raises:
            InfeasibleBudget: If no network is that cheap; says what the smallest budget is.
        """
        draft = _draft(self, budget, watch)
        is_timed = isinstance(budget, LatencyBudget)
        return ShrinkPlan(
            model=self.model,
            budget=budget,
            folds=self.folds,
            decisions=_decisions(self.found, self.judgement, draft),
            left_alone=self.found.left_alone,
            whole=_whole(self.found, draft),
            conditions=self.setting.conditions if is_timed else {},
            images=len(self.evidence.images),
            evidence=self.evidence,
        )


def prepare_shrink(
    model: nn.Module,
    data: CalibrationSource,
    *,
    runtime: str = "compiled",
    example: Tensor | None = None,
    align: Align = "auto",
    keep: Collection[str] = (),
    threads: int | None = None,
    name: str | None = None,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Prepared:
    """Look at a network once, so that plans can be made for any budget.

    Args:
        model: As for `plan_shrink`.
        data: As there.
        runtime: As there.
        example: As there.
        align: As there.
        keep: As there.
        threads: As there.
        name: As there.
        seed: As there.
        watch: As there.

    Raises:
        ShrinkError: If nothing of the network can be changed, or the images do not serve.
    """
    find_runtime(runtime)
    offer = make_offer(align, runtime)
    images = calibration_images(data, network=model)
    setting = Setting(
        runtime=runtime,
        threads=threads or torch.get_num_threads(),
        example=images[:1] if example is None else example,
    )
    folds = survey(model, setting.example, keep).folds
    original = folded_copy(model, folds)
    found = survey(original, setting.example, keep)
    _check_any(found)
    paths = [site.path for site in found.sites]
    moments = collect_moments(original, paths, images, seed=seed, watch=watch)
    return Prepared(
        model=name or type(model).__name__,
        original=original,
        folds=folds,
        found=found,
        judgement=judge(original, found, moments, offer, watch=watch),
        evidence=evidence_of(images, moments),
        setting=setting,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What was chosen, before it is written down as a plan.

    Attributes:
        chosen: For each chain of layers, the way that it changes.
        costs: What everything costs, in the budget's unit.
        seconds: Of the whole, before and after, measured side by side; None if nothing was timed.
        predicted: What the whole should cost afterwards, in the budget's unit.
    """

    chosen: tuple[Way, ...]
    costs: Costs
    predicted: float
    seconds: tuple[float, float] | None = None


def _draft(prepared: Prepared, budget: Budget, watch: Watch) -> Draft:
    original, setting, judgement = prepared.original, prepared.setting, prepared.judgement
    chains = find_chains(prepared.found, judgement.factors, judgement.widths)
    changes = all_changes(chains)
    if not isinstance(budget, LatencyBudget):
        costs = macs_costs(prepared.found.macs, changes)
        knapsack = fill_knapsack(chains, costs, judgement)
        chosen = knapsack.choose(budget.share * costs.whole)
        return Draft(chosen=chosen, costs=costs, predicted=knapsack.cost(chosen))

    def time_beside(chosen: tuple[Way, ...]) -> tuple[float, float]:
        small = restructured(original, _changes_of(chosen))
        before, after = measure_whole([original, small], setting, watch=watch)
        return before.median_seconds, after.median_seconds

    (whole,) = measure_whole([original], setting, watch=watch)
    times = time_layers(changes, setting, watch=watch)
    costs = Costs(whole=whole.median_seconds, of=times)
    return _meet(fill_knapsack(chains, costs, judgement), costs, budget, time_beside)


def _meet(
    knapsack: Knapsack,
    costs: Costs,
    budget: LatencyBudget,
    time_beside: Callable[[tuple[Way, ...]], tuple[float, float]],
) -> Draft:
    """Choose, rebuild and time, until the whole network meets the budget.

    Raises:
        InfeasibleBudget: If even the cheapest network is too slow.
    """
    tried: dict[tuple[Way, ...], tuple[float, float]] = {}
    reached = {knapsack.whole: 1.0}  # share of the time, by what was asked for
    asked = budget.share * knapsack.whole
    for _ in range(ROUNDS):
        asked = max(asked, knapsack.smallest)
        chosen = knapsack.choose(asked)
        if chosen in tried:
            break
        before, after = tried[chosen] = time_beside(chosen)
        reached[asked] = after / before
        if NEAR[0] <= reached[asked] / budget.share <= NEAR[1]:
            break
        asked = _next(reached, budget.share, knapsack.whole)
    chosen, seconds = _best(tried, budget)
    return Draft(chosen=chosen, costs=costs, predicted=knapsack.cost(chosen), seconds=seconds)


def _next(reached: Mapping[float, float], share: float, whole: float) -> float:
    """Return what to ask for next: between what was too slow and what was faster than need be."""
    slow = min(asked for asked, found in reached.items() if found > share)
    fast = [asked for asked, found in reached.items() if found <= share]
    if not fast:
        return slow - (reached[slow] - share) * whole
    quick = max(fast)
    place = (share * sum(NEAR) / 2 - reached[quick]) / (reached[slow] - reached[quick])
    return quick + place * (slow - quick)


def _best(
    tried: Mapping[tuple[Way, ...], tuple[float, float]], budget: LatencyBudget
) -> tuple[tuple[Way, ...], tuple[float, float]]:
    """Return the network that loses least of those that meet the budget, or the nearest to it."""
    shares = {chosen: after / before for chosen, (before, after) in tried.items()}
    met = [chosen for chosen, share in shares.items() if share <= NEAR[1] * budget.share]
    if met:
        best = min(met, key=lambda chosen: sum(way.loss for way in chosen))
        return best, tried[best]
    nearest = min(shares, key=lambda chosen: shares[chosen])
    if shares[nearest] > TOLERANCE * budget.share:
        raise InfeasibleBudget(
            f"{budget} was wanted, and the fastest network that can be made takes "
            f"{shares[nearest]:.2f} of the original's time; ask for that or more"
        )
    return nearest, tried[nearest]


def _changes_of(chosen: Sequence[Way]) -> list[Change]:
    return list(joined.from_iterable(way.changes for way in chosen))


def _decisions(found: Survey, judgement: Judgement, draft: Draft) -> tuple[Decision, ...]:
    """Write down what becomes of each layer, in the order in which they run."""
    changes = {change.site.path: change for change in _changes_of(draft.chosen)}
    widths = dict(joined.from_iterable(way.widths for way in draft.chosen))
    kept_in: dict[str, tuple[int, ...]] = {}
    kept_out: dict[str, tuple[int, ...]] = {}
    for group in found.groups:
        if group.producer not in widths:
            continue
        kept = judgement.kept(group.producer, widths[group.producer])
        kept_out[group.producer] = kept_in[group.consumer] = kept
        for site in group.depthwise:
            kept_in[site.path] = kept_out[site.path] = kept

    def decide(change: Change) -> Decision:
        path, edit = change.site.path, change.edit
        loss = judgement.factor_loss[edit] if isinstance(edit, Factorise) else 0.0
        if path in widths:
            loss += judgement.width_loss[path][widths[path]]
        return Decision(
            change=change,
            loss=loss,
            kept_in=kept_in.get(path),
            kept_out=kept_out.get(path),
            seconds=(draft.costs.of[change.as_it_was], draft.costs.of[change])
            if draft.seconds
            else None,
        )

    return tuple(decide(changes[path]) for path in found.order if path in changes)


def _whole(found: Survey, draft: Draft) -> Whole:
    saved = sum(change.as_it_was.macs - change.macs for change in _changes_of(draft.chosen))
    return Whole(
        macs=(found.macs, found.macs - saved),
        seconds=draft.seconds,
        predicted_seconds=draft.predicted if draft.seconds else None,
    )


def _check_any(found: Survey) -> None:
    if found.sites:
        return
    reasons = "; ".join(f"{path}: {why}" for path, why in list(found.left_alone.items())[:3])
    raise ShrinkError(
        f"no convolution of this network can be changed ({reasons or 'it has none'}); nothing to "
        "shrink"
    )
