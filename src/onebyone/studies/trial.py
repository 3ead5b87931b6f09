"""One trial: an arm of a study trained with one seed, in a process of its own.

    python -m onebyone.studies.trial STUDY ARM SEED FILE [--quick]

It computes on one thread, so that it gives the same whatever runs beside it, writes its result
whole or not at all, and ends when its standard input does: with the program that started it.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onebyone.errors import OneByOneError, TrainingError, summary
from onebyone.explainer import count_cost
from onebyone.files import replacing
from onebyone.studies.catalogue import find_study
from onebyone.studies.processes import SIGNALLED, end_with_parent
from onebyone.studies.study import Arm, Rows, Scale, Study
from onebyone.studies.subset import first_tests, take_images
from onebyone.training.data import read_data
from onebyone.training.data.data import Data
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import evaluate
from onebyone.training.loop import train_network
from onebyone.training.recipe import Recipe
from onebyone.training.state import first_difference, writing

FORMAT = 1
"""Raised by one whenever an older reader would misunderstand the file."""

GLANCED_AT = 256
"""Test images that are looked at behind each epoch; the whole test comes at the end."""

WRONG_USE = 2
NICENESS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training that a study needs.

    Attributes:
        study: The study.
        scale: How large it is.
        arm: What is trained.
        seed: With what seed.
    """

    study: Study
    scale: Scale
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """What it is called, such as "relu-3"."""
        return f"{self.arm.name}-{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        rate = self.arm.learning_rate
        recipe = self.scale.recipe
        return recipe if rate is None else replace(recipe, learning_rate=rate)

    def build(self, data: Data) -> nn.Module:
        """Return its network before the training; torch's generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.arm.build(data)

    def about(self, data: Data) -> dict[str, Any]:
        """Return what its result depends on, as JSON."""
        cost = count_cost(self.build(data), (1, *data.image_shape))
        return json.loads(
            json.dumps(
                {
                    "study": self.study.name,
                    "arm": self.arm.name,
                    "seed": self.seed,
                    "data": self.scale.data,
                    "images": self.scale.images,
                    "macs": cost.macs,
                    "params": cost.params,
                    "recipe": asdict(self.recipe),
                }
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        about: What it depends on; see `Trial.about`.
        rows: Numbers by quantity, by condition, in full: "arm", "arm/condition".
        seconds: What it took.
        versions: Of what computed it.
    """

    about: Mapping[str, Any]
    rows: Rows
    seconds: float
    versions: Mapping[str, str]

    @property
    def arm(self) -> str:
        """Name of its arm."""
        return self.about["arm"]

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.about["seed"]


def run_trial(trial: Trial, data: Data) -> TrialResult | None:
    """Train an arm with a seed, and look at what came of it.

    Args:
        trial: Which.
        data: All of the data that its scale names.

    Returns:
        The result; None if a signal asked for the end.

    Raises:
        OneByOneError: One of its kinds; see `train_network`.
    """
    begun = time.perf_counter()
    part = take_images(data, trial.scale.images, seed=trial.seed)
    engine = make_engine(precision=trial.recipe.precision)
    trained = train_network(
        trial.build(data),
        first_tests(part, GLANCED_AT),
        trial.recipe,
        seed=trial.seed,
        engine=engine,
    )
    if trained.signal:
        return None
    score = evaluate(trained.network, part.test, engine, batch_size=2 * trial.recipe.batch_size)
    rows = {"": {"accuracy": score.accuracy, "loss": score.loss}}
    if trial.study.measure:
        torch.manual_seed(trial.seed)  # what is drawn at random in there
        for condition, numbers in trial.study.measure(trained.network, part, score).items():
            rows[condition] = rows.get(condition, {}) | dict(numbers)
    return TrialResult(
        about=trial.about(data),
        rows={_in_full(trial.arm, condition): numbers for condition, numbers in rows.items()},
        seconds=time.perf_counter() - begun,
        versions=_versions(),
    )


def _in_full(arm: Arm, condition: str) -> str:
    return f"{arm.name}/{condition}" if condition else arm.name


def _versions() -> dict[str, str]:
    return {
        "onebyone": version("onebyone"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def write_result(path: Path, result: TrialResult) -> None:
    """Write a trial's result.

    Raises:
        TrainingError: If it cannot be written.
    """
    with writing(path), replacing(path) as temporary:
        content = {"format": FORMAT} | asdict(result)
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_result(path: Path, wanted: Mapping[str, Any]) -> TrialResult:
    """Read what `write_result` wrote.

    Args:
        path: The file.
        wanted: What its result has to depend on; see `Trial.about`.

    Raises:
        TrainingError: If it is damaged, too new, or of another plan.
    """
    try:
        content = json.loads(path.read_text())
        if content["format"] > FORMAT:
            raise TrainingError(
                f"{path} is of format {content['format']}, and this version of onebyone reads up "
                f"to {FORMAT}; install a newer one: pip install --upgrade onebyone"
            )
        result = TrialResult(**{name: content[name] for name in TrialResult.__slots__})
        different = first_difference(result.about, wanted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is no result of a trial, or damaged ({summary(error)}); delete it, and the "
            "trial is run again"
        ) from error
    if different:
        name, there, here = different
        raise TrainingError(
            f"{path} is of a trial with {name} {there!r}, and {here!r} is planned; name another "
            "folder by --out, or delete this one"
        )
    return result


def main(arguments: list[str]) -> int:
    """Run the trial that the arguments name, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m onebyone.studies.trial")
    parser.add_argument("study")
    parser.add_argument("arm")
    parser.add_argument("seed", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    end_with_parent()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    torch.set_num_threads(1)
    study = find_study(given.study)
    scale = study.quick if given.quick else study.full
    trial = Trial(study=study, scale=scale, arm=study.arm(given.arm), seed=given.seed)
    try:
        result = run_trial(trial, read_data(scale.data))
        if result is None:
            return SIGNALLED
        write_result(given.file, result)
    except OneByOneError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return WRONG_USE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
