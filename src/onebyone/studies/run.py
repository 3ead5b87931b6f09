"""`onebyone.study`: a name in, a folder with an answer out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from onebyone.compiler import usable_cores
from onebyone.errors import ShapeError
from onebyone.packages import require
from onebyone.studies.catalogue import find_study
from onebyone.studies.outcome import StudyResult, conclude
from onebyone.studies.processes import Task, run_tasks
from onebyone.studies.report import write_report
from onebyone.studies.speed import have_speed
from onebyone.studies.study import Scale, Study
from onebyone.studies.trial import Trial, TrialResult, read_result
from onebyone.training.data import read_data
from onebyone.training.data.data import Data
from onebyone.training.state import writing

TRIALS = "trials"
"""Folder within a study's, with a file each trial."""

_PACKAGES = ("lightning_fabric", "scipy", "altair", "vl_convert")

LEAST_SEEDS = 2
"""Of one seed nothing can be said of how much seeds matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far a study has come.

    Attributes:
        done: Trials that are done, those of earlier runs included.
        trials: Trials in all.
        seconds_left: What the others will take, roughly; None as long as nobody knows.
        last: The one that has just ended; None at the start.
    """

    done: int
    trials: int
    seconds_left: float | None
    last: TrialResult | None = None


class Watch(Protocol):
    """Show a person how far a study has come."""

    def __call__(self, reached: Reached) -> None:
        """Take note of the start, or of a trial's end."""
        ...


def unwatched(reached: Reached) -> None:
    """Show nobody."""


def run_study(
    name: str,
    out: str | Path | None = None,
    *,
    seeds: int | None = None,
    jobs: int | None = None,
    quick: bool = False,
    watch: Watch = unwatched,
) -> StudyResult:
    """Run a study, or what is still missing of it, and write its report.

    Every trial is a process of its own, on one thread, and its result is kept whole when it is
    done. An interruption costs the trials that were running; the same call goes on.

    Args:
        name: The study; `onebyone study --list` names all.
        out: Folder for the report and the trials; by default studies/NAME.
        seeds: Trials of each arm, 2 or more; by default as many as the study asks for.
        jobs: Trials that run at a time; by default one a core.
        quick: Whether to run the small form for tests, on digits.
        watch: Shows a person how far it has come.

    Raises:
        UnknownNameError: If there is no such study.
        ShapeError: If `seeds` or `jobs` is too small.
        TrainingError: If a trial fails, `out` cannot be written to, or holds results of another
            plan.
        MissingPackageError: If a package for training is not installed.
    """
    study = find_study(name)
    scale = study.quick if quick else study.full
    scale = replace(scale, seeds=scale.seeds if seeds is None else seeds)
    jobs = usable_cores() if jobs is None else jobs
    for argument, number, least in (("seeds", scale.seeds, LEAST_SEEDS), ("jobs", jobs, 1)):
        if number < least:
            raise ShapeError(f"`{argument}` (={number}) must be at least {least}")
    require("a study", *_PACKAGES)  # now, and not behind its trials
    folder = Path("studies") / name if out is None else Path(out)
    _prepare(folder / TRIALS)
    data = read_data(scale.data)
    planned = _plan(study, scale, data, folder)
    trials = _run_missing(planned, jobs=jobs, quick=quick, watch=watch)
    speed = have_speed(study, scale, data, folder)
    result = conclude(study, scale, trials, speed, folder, is_quick=quick)
    write_report(result, data)
    return result


def _prepare(folder: Path) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A trial, where its result belongs, and what that has to depend on."""

    trial: Trial
    path: Path
    about: Mapping[str, Any]


def _plan(study: Study, scale: Scale, data: Data, folder: Path) -> list[_Planned]:
    """Return all trials, seed after seed: so those that are done can be compared."""
    abouts = [Trial(study=study, scale=scale, arm=arm, seed=0).about(data) for arm in study.arms]
    trials = [
        (Trial(study=study, scale=scale, arm=arm, seed=seed), about | {"seed": seed})
        for seed in range(scale.seeds)
        for arm, about in zip(study.arms, abouts, strict=True)
    ]
    return [
        _Planned(trial=trial, path=folder / TRIALS / f"{trial.name}.json", about=about)
        for trial, about in trials
    ]


def _run_missing(
    planned: Sequence[_Planned], *, jobs: int, quick: bool, watch: Watch
) -> list[TrialResult]:
    """Return the results of all trials; those that are not there yet are run."""
    done = [read_result(one.path, one.about) for one in planned if one.path.exists()]
    missing = {one.trial.name: one for one in planned if not one.path.exists()}
    watch(_reached(done, missing.values(), jobs))
    tasks = [_task(one, quick=quick) for one in missing.values()]
    for task in run_tasks(tasks, jobs=jobs):
        ended = missing.pop(task.name)
        done.append(read_result(ended.path, ended.about))
        watch(_reached(done, missing.values(), jobs, last=done[-1]))
    return done


def _task(one: _Planned, *, quick: bool) -> Task:
    trial = one.trial
    words = (trial.study.name, trial.arm.name, str(trial.seed), str(one.path.absolute()))
    return Task(trial.name, "onebyone.studies.trial", (*words, *(["--quick"] if quick else [])))


def _reached(
    done: Sequence[TrialResult],
    missing: Collection[_Planned],
    jobs: int,
    last: TrialResult | None = None,
) -> Reached:
    return Reached(
        done=len(done),
        trials=len(done) + len(missing),
        seconds_left=_seconds_left(done, missing) / jobs if done else None,
        last=last,
    )


def _seconds_left(done: Sequence[TrialResult], missing: Collection[_Planned]) -> float:
    """Return what trials will take one after the other: as long as their arm's did, or any did."""
    usual = fmean(one.seconds for one in done)
    by_arm: dict[str, list[float]] = {}
    for one in done:
        by_arm.setdefault(one.arm, []).append(one.seconds)
    return sum(fmean(by_arm.get(one.trial.arm.name, [usual])) for one in missing)
