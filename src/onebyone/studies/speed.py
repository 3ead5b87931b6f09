"""How long the networks of a study take, measured in turn, apart from their training."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from onebyone.bench import (
    OURS,
    Burst,
    Spread,
    describe_machine,
    find_engines,
    measure_interleaved,
    spread,
)
from onebyone.bench.threads import on_threads
from onebyone.errors import TrainingError, summary
from onebyone.files import replacing
from onebyone.studies.study import Scale, Study
from onebyone.studies.trial import Trial
from onebyone.training.data.data import Data
from onebyone.training.state import writing

SPEED_FILE = "speed.json"

PREFIXES: Mapping[str, str] = {"eager": "eager", OURS: "compiled"}
"""How our quantities begin, by what `onebyone.bench` calls the engine."""

BURSTS: Mapping[int, Burst] = {1: Burst(discarded=3, timed=10), 128: Burst(discarded=1, timed=1)}
"""What a turn is, by the images in a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Milliseconds:
    """How long one call takes: the median of the rounds, and where all but a tenth at each end lie.

    Attributes:
        median: In milliseconds, as the others.
        p10: A tenth of the rounds were faster.
        p90: A tenth were slower.
    """

    median: float
    p10: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long each arm's network takes, with random weights, on one thread.

    Attributes:
        about: What was measured, as JSON.
        machine: What it was measured on, in words.
        times: By quantity, such as "eager_ms_1", by arm.
    """

    about: Mapping[str, Any]
    machine: str
    times: Mapping[str, Mapping[str, Milliseconds]]


def have_speed(study: Study, scale: Scale, data: Data, folder: Path) -> Speed | None:
    """Return the speed that was noted in a folder, or measure it and note it there.

    Returns:
        None where the scale has no rounds, and none is wanted.

    Raises:
        TrainingError: If the file is damaged, or cannot be written.
    """
    if not scale.rounds:
        return None
    path, about = folder / SPEED_FILE, _about(study, scale, data)
    noted = _read(path) if path.exists() else None
    if noted and noted.about == about:
        return noted
    speed = Speed(
        about=about,
        machine=str(describe_machine()),
        times=_measure(study, scale, data),
    )
    with writing(path), replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(speed), indent=1, allow_nan=False) + "\n")
    return speed


def _about(study: Study, scale: Scale, data: Data) -> dict[str, Any]:
    trials = [Trial(study=study, scale=scale, arm=arm, seed=0).about(data) for arm in study.arms]
    arms = {one["arm"]: {"macs": one["macs"], "params": one["params"]} for one in trials}
    return {"study": study.name, "rounds": scale.rounds, "arms": arms}


def _measure(study: Study, scale: Scale, data: Data) -> dict[str, dict[str, Milliseconds]]:
    """Time the networks of all arms in turn, in PyTorch and compiled, on one thread."""
    networks = {
        arm.name: Trial(study=study, scale=scale, arm=arm, seed=0).build(data).eval()
        for arm in study.arms
    }
    times: dict[str, dict[str, Milliseconds]] = {name: {} for name in networks}
    with on_threads(1):
        for engine in find_engines(["eager"]):
            for batch, burst in BURSTS.items():
                images = torch.randn(
                    batch, *data.image_shape, generator=torch.Generator().manual_seed(0)
                )
                calls = {
                    name: partial(engine.build(network, images, 1), images)
                    for name, network in networks.items()
                }
                quantity = f"{PREFIXES[engine.name]}_ms_{batch}"
                rounds = measure_interleaved(calls, rounds=scale.rounds, burst=burst)
                for name, seconds in rounds.items():
                    times[name][quantity] = _in_milliseconds(spread(seconds))
    return times


def _in_milliseconds(seconds: Spread) -> Milliseconds:
    return Milliseconds(
        median=1e3 * seconds.median_seconds,
        p10=1e3 * seconds.p10_seconds,
        p90=1e3 * seconds.p90_seconds,
    )


def _read(path: Path) -> Speed:
    try:
        content = json.loads(path.read_text())
        times = {
            arm: {quantity: Milliseconds(**numbers) for quantity, numbers in measured.items()}
            for arm, measured in content["times"].items()
        }
        return Speed(about=content["about"], machine=content["machine"], times=times)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} has no times, or is damaged ({summary(error)}); delete it, and they are "
            "measured again"
        ) from error
