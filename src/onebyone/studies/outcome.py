"""What the trials of a study amount to: means by condition, and answers to its questions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onebyone.studies.paired import Estimate, difference, estimate, exactly
from onebyone.studies.speed import Speed
from onebyone.studies.study import Comparison, Panel, Scale, Study
from onebyone.studies.trial import TrialResult

_WEAK = "(Of so few seeds this is weak evidence: the 95 % interval has zero in it.)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition over all seeds.

    Attributes:
        name: "arm" or "arm/condition".
        label: What a reader sees.
        values: Numbers by quantity, seed after seed.
        constants: What an arm has whatever the seed: its cost, and times. Empty where it is no arm.
    """

    name: str
    label: str
    values: Mapping[str, tuple[float, ...]]
    constants: Mapping[str, float]

    @property
    def arm(self) -> str:
        """Name of its arm."""
        return self.name.partition("/")[0]

    @property
    def is_arm(self) -> bool:
        """Whether it is a trained network itself."""
        return self.name == self.arm

    @property
    def estimates(self) -> dict[str, Estimate]:
        """What is known of each quantity."""
        measured = {name: estimate(values) for name, values in self.values.items()}
        return measured | {name: exactly(value) for name, value in self.constants.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one question.

    Attributes:
        comparison: What was asked.
        difference: Mean of `this` minus `that`, seed by seed.
    """

    comparison: Comparison
    difference: Estimate

    @property
    def text(self) -> str:
        """What may be said."""
        if not self.difference.is_claimed:
            return self.comparison.alike
        said = self.comparison.more if self.difference.mean > 0 else self.comparison.less
        return said if self.difference.is_certain else f"{said} {_WEAK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What came of a study.

    Attributes:
        study: What was asked.
        scale: How large it was; `scale.seeds` is the number that was run.
        is_quick: Whether it is the one for tests.
        trials: One each arm and seed.
        conditions: By name, in the order of the tables.
        verdicts: One each comparison.
        speed: Times of the networks; None where none were wanted.
        out: Folder that holds it all.
    """

    study: Study
    scale: Scale
    is_quick: bool
    trials: tuple[TrialResult, ...]
    conditions: Mapping[str, Condition]
    verdicts: tuple[Verdict, ...]
    speed: Speed | None
    out: Path

    def difference(self, this: str, that: str, quantity: str) -> Estimate:
        """Return the mean of a condition minus another one, seed by seed."""
        return _difference(self.conditions, this, that, quantity)

    def along(self, condition: str, quantity: str) -> float:
        """Return a mean of a condition, or else of its arm."""
        own = self.conditions[condition].estimates
        arm = self.conditions[self.conditions[condition].arm].estimates
        return (own.get(quantity) or arm[quantity]).mean

    def drawn(self, panel: Panel, condition: str) -> Estimate:
        """Return what a panel shows of a condition."""
        if panel.base is None:
            return self.conditions[condition].estimates[panel.y]
        return self.difference(condition, panel.base, panel.y)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "study": self.study.name,
            "title": self.study.title,
            "quick": self.is_quick,
            "scale": asdict(self.scale),
            "conditions": [
                {"name": one.name, "label": one.label, "values": dict(one.values)}
                | {"estimates": {name: asdict(e) for name, e in one.estimates.items()}}
                for one in self.conditions.values()
            ],
            "comparisons": [
                asdict(one.comparison)
                | {
                    "difference": asdict(one.difference),
                    "claimed": one.difference.is_claimed,
                    "verdict": one.text,
                }
                for one in self.verdicts
            ],
            "speed": asdict(self.speed) if self.speed else None,
            "trials": [asdict(trial) for trial in self.trials],
        }


def conclude(
    study: Study,
    scale: Scale,
    trials: Sequence[TrialResult],
    speed: Speed | None,
    out: Path,
    *,
    is_quick: bool,
) -> StudyResult:
    """Work out what the trials say.

    Args:
        study: The study.
        scale: How large it was.
        trials: All of them, one each arm and seed.
        speed: Times of the networks, if they were measured.
        out: Folder that holds it all.
        is_quick: Whether it is the one for tests.
    """
    ordered = sorted(trials, key=lambda trial: trial.seed)
    conditions = {
        one.name: one
        for arm in study.arms
        for one in _conditions(study, [trial for trial in ordered if trial.arm == arm.name], speed)
    }
    verdicts = tuple(
        Verdict(
            comparison=asked,
            difference=_difference(conditions, asked.this, asked.that, asked.quantity),
        )
        for asked in study.comparisons
    )
    return StudyResult(
        study=study,
        scale=scale,
        is_quick=is_quick,
        trials=tuple(ordered),
        conditions=conditions,
        verdicts=verdicts,
        speed=speed,
        out=out,
    )


def _conditions(
    study: Study, trials: Sequence[TrialResult], speed: Speed | None
) -> list[Condition]:
    """Return an arm's conditions, itself first."""
    about = trials[0].about
    times = speed.times[about["arm"]] if speed else {}
    constants = {name: float(about[name]) for name in ("macs", "params")}
    constants |= {name: time.median for name, time in times.items()}
    return [
        Condition(
            name=name,
            label=study.label(name),
            values={
                quantity: tuple(trial.rows[name][quantity] for trial in trials) for quantity in row
            },
            constants={} if "/" in name else constants,
        )
        for name, row in trials[0].rows.items()
    ]


def _difference(
    conditions: Mapping[str, Condition], this: str, that: str, quantity: str
) -> Estimate:
    return difference(conditions[this].values[quantity], conditions[that].values[quantity])
