"""`onebyone.shrink`: names in, a small network and what it is worth out."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onebyone.bench.measure import Watch, unwatched
from onebyone.errors import InfeasibleBudget, ShrinkError
from onebyone.models import load_model, save
from onebyone.models.reference import default_weights
from onebyone.shrinking.agreement import Agreement, measure_agreement
from onebyone.shrinking.apply import restructured
from onebyone.shrinking.budget import KINDS, Budget, parse_budget
from onebyone.shrinking.curve import Point, draw_curve, read_point, write_json, write_point
from onebyone.shrinking.distil import RECIPE, Tuned, tune
from onebyone.shrinking.images import LIMIT
from onebyone.shrinking.material import Material, read_material
from onebyone.shrinking.plan import ShrinkPlan
from onebyone.shrinking.planner import Prepared, prepare_shrink
from onebyone.shrinking.ranks import Align
from onebyone.shrinking.timing import measure_whole
from onebyone.training.progress import Watch as WatchTraining
from onebyone.training.progress import unwatched as untaught

SHARES = (0.8, 0.65, 0.5, 0.4, 0.3)
"""Shares of the original that a curve is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkResult:
    """What came of making a network narrower.

    Attributes:
        network: The small network, in evaluation mode.
        plan: What was done.
        agreement: How far it does what the original does, on images that it was not decided on.
        tuned: What came of letting it learn; None if it did not.
        source: What it was decided on, for people.
        advice: What people should know before they trust it; mostly nothing.
        out: Where it was written to; None if it was not.
    """

    network: nn.Module
    plan: ShrinkPlan
    agreement: Agreement
    source: str
    advice: str = ""
    tuned: Tuned | None = None
    out: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all but the network as plain JSON values."""
        tuned = self.tuned and {
            "before": self.tuned.before,
            "after": self.tuned.after,
            "helped": self.tuned.helped,
        }
        return {
            "plan": self.plan.to_json(),
            "agreement": asdict(self.agreement),
            "tuned": tuned,
            "images": self.source,
            "advice": self.advice,
            "out": str(self.out) if self.out else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveResult:
    """What budgets cost in quality.

    Attributes:
        points: The original first, then smaller and smaller networks.
        infeasible: Budgets that no network meets, each with the reason.
        folder: Where points, pictures and networks lie.
    """

    points: tuple[Point, ...]
    infeasible: dict[str, str]
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "points": [asdict(point) for point in self.points],
            "infeasible": self.infeasible,
            "folder": str(self.folder),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A network and its images, looked at, from which small networks are made.

    Attributes:
        network: The user's.
        prepared: What was found.
        material: The images.
    """

    network: nn.Module
    prepared: Prepared
    material: Material

    def make(self, budget: Budget, *, watch: Watch = unwatched) -> tuple[nn.Module, ShrinkPlan]:
        """Return the small network for a budget, and its plan."""
        plan = self.prepared.plan(budget, watch=watch)
        return plan.apply(self.network, watch=watch), plan

    def judge(self, small: nn.Module) -> Agreement:
        """Return how far a network does what the original does."""
        return measure_agreement(self.network, small, self.material.judged, self.material.labels)


def begin_job(
    model: str | Path,
    data: str,
    *,
    weights: str | Path | None = None,
    images: int = LIMIT,
    batch: int = 1,
    runtime: str = "compiled",
    align: Align = "auto",
    keep: Collection[str] = (),
    threads: int | None = None,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Job:
    """Read a network and images that a user names, and look at them.

    Args:
        model: As for `onebyone.load_model`.
        data: As for `read_material`.
        weights: As for `onebyone.load_model`; by default the model's own.
        images: How many to decide on, at most.
        batch: Images in a call that is timed.
        runtime: As for `plan_shrink`.
        align: As there.
        keep: As there.
        threads: As there.
        seed: As there.
        watch: As there.

    Raises:
        OneByOneError: One of its kinds.
    """
    weights = weights or default_weights(str(model))
    network, card = load_model(model, weights=weights)
    material = read_material(data, card.preprocess, limit=images)
    prepared = prepare_shrink(
        network,
        material.images,
        runtime=runtime,
        example=_repeated(material.images, batch),
        align=align,
        keep=keep,
        threads=threads,
        name=str(model),
        seed=seed,
        watch=watch,
    )
    return Job(network=network, prepared=prepared, material=material)


def shrink(
    model: str | Path,
    data: str,
    budget: str | Budget,
    out: str | Path | None = None,
    *,
    tune_epochs: int = 0,
    watch: Watch = unwatched,
    watch_training: WatchTraining = untaught,
    **options: Any,
) -> ShrinkResult:
    """Make a network narrower that keeps its job, by name.

    Args:
        model: As for `onebyone.load_model`.
        data: A data name of `onebyone train`, a folder of photos, or "samples".
        budget: Such as "latency=0.5" or "macs=0.5".
        out: A `.safetensors` file to write the small network to; None to write none.
        tune_epochs: How long it then learns from the original, on data with labels.
        watch: Shows a person how far it has come.
        watch_training: Likewise, while it learns.
        options: Those of `begin_job`.

    Raises:
        OneByOneError: One of its kinds; see `plan_shrink`, `load_model` and `read_material`.
    """
    budget = parse_budget(budget) if isinstance(budget, str) else budget
    job = begin_job(model, data, watch=watch, **options)
    small, plan = job.make(budget, watch=watch)
    tuned = None
    if tune_epochs:
        tuned = _tune(job, small, tune_epochs, out, watch_training)
        small = tuned.network
    if out is not None:
        save(small, out)
    return ShrinkResult(
        network=small,
        plan=plan,
        agreement=job.judge(small),
        tuned=tuned,
        source=job.material.source,
        advice=job.material.advice,
        out=None if out is None else Path(out),
    )


def shrink_curve(
    model: str | Path,
    data: str,
    folder: str | Path,
    *,
    kind: str = "latency",
    shares: Sequence[float] = SHARES,
    watch: Watch = unwatched,
    **options: Any,
) -> CurveResult:
    """Make small networks for several budgets, measure each, and draw what they cost in quality.

    Each is kept as it is done; the same call goes on where an earlier one was interrupted.

    Args:
        model: As for `shrink`.
        data: As there.
        folder: Where networks, `curve.json`, `curve.svg` and `curve.png` are written to.
        kind: What budgets are of: "latency" or "macs".
        shares: Of the original, one for each network.
        watch: Shows a person how far it has come.
        options: Those of `begin_job`.

    Raises:
        OneByOneError: One of its kinds, as `shrink`.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShrinkError(f"{folder} is no folder to write to ({error.strerror})") from error
    job = begin_job(model, data, watch=watch, **options)
    points: list[Point] = []
    infeasible: dict[str, str] = {}
    for share in sorted(shares, reverse=True):
        budget = KINDS[kind](share)
        file = folder / f"{kind}-{share:g}.json"
        point = read_point(file)
        if point is None:
            try:
                small, plan = job.make(budget, watch=watch)
            except InfeasibleBudget as error:
                infeasible[str(budget)] = str(error)
                continue
            save(small, file.with_suffix(".safetensors"))
            point = _point(job, small, plan, watch)
            write_point(file, point)
        points.append(point)
    result = CurveResult(
        points=(_start(job, points), *points), infeasible=infeasible, folder=folder
    )
    write_json(folder / "curve.json", result.to_json())
    draw_curve(folder, result.points, title=f"{model}: what budgets cost")
    return result


def _tune(
    job: Job, small: nn.Module, epochs: int, out: str | Path | None, watch: WatchTraining
) -> Tuned:
    if job.material.data is None:
        raise ShrinkError(
            f"{job.material.source} can be decided on, and not learnt from: name data of `onebyone "
            "train`, such as imagefolder:DIR"
        )
    folder = Path(f"{out}.tuning") if out else None
    recipe = replace(RECIPE, epochs=epochs)
    return tune(small, job.network, job.material.data, recipe=recipe, out=folder, watch=watch)


def _point(job: Job, small: nn.Module, plan: ShrinkPlan, watch: Watch) -> Point:
    seconds = plan.whole.seconds
    if seconds is None:
        changes = [one.change for one in plan.decisions]
        networks = [job.prepared.original, restructured(job.prepared.original, changes)]
        before, after = measure_whole(networks, job.prepared.setting, watch=watch)
        seconds = (before.median_seconds, after.median_seconds)
    found = job.judge(small)
    return Point(
        budget=str(plan.budget),
        macs=plan.whole.macs[1],
        seconds=seconds[1],
        original_seconds=seconds[0],
        top1=found.top1,
        divergence=found.divergence,
        accuracy=found.accuracy[1] if found.accuracy else None,
        loss=plan.loss,
    )


def _start(job: Job, points: Sequence[Point]) -> Point:
    """Return the original as a point."""
    found = job.judge(job.network)
    times = [point.original_seconds for point in points]
    seconds = float(torch.tensor(times).median()) if times else 0.0
    return Point(
        budget="",
        macs=job.prepared.found.macs,
        seconds=seconds,
        original_seconds=seconds,
        top1=1.0,
        divergence=0.0,
        accuracy=found.accuracy[0] if found.accuracy else None,
    )


def _repeated(images: Tensor, batch: int) -> Tensor:
    """Return a batch of the images, some more than once if there are too few."""
    return images[torch.arange(batch) % len(images)]
