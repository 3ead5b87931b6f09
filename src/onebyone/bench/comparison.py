"""One network on several engines: checked against float64, then timed in turn."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from onebyone.bench.absent import why_absent
from onebyone.bench.accuracy import float64_output, is_right, relative_rms
from onebyone.bench.engine import Engine, Runner
from onebyone.bench.engines import OURS
from onebyone.bench.measure import (
    BURST,
    Burst,
    Watch,
    measure_interleaved,
    pairwise_ratio,
    spread,
    unwatched,
    wait_until_idle,
)
from onebyone.bench.subject import Subject
from onebyone.bench.threads import on_threads
from onebyone.errors import located


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """How one engine did on one network.

    Attributes:
        median_seconds: Middle of its rounds.
        p10_seconds: What a tenth of its rounds stayed below.
        p90_seconds: What a tenth of its rounds went beyond.
        relative_rms: Root mean square of its output's error, over that of the output in float64.
    """

    median_seconds: float
    p10_seconds: float
    p90_seconds: float
    relative_rms: float

    @property
    def is_right(self) -> bool:
        """Whether the output is float32's; an engine that did another work has no ratio."""
        return is_right(self.relative_rms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How engines did on one network.

    Attributes:
        model: What the user calls the network.
        batch: Images a call.
        threads: Threads that each engine had.
        engines: The results, by engine.
        ratios: Each peer's time over ours, for the peers whose output is right, if ours is.
        absent: Why an engine has no result.
        remarks: What one must know of an engine's result, such as parts that it left to PyTorch.
    """

    model: str
    batch: int
    threads: int
    engines: dict[str, EngineResult]
    ratios: dict[str, float]
    absent: dict[str, str]
    remarks: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"isolated": False} | asdict(self)


def compare(
    subject: Subject,
    engines: Sequence[Engine],
    *,
    batch: int,
    threads: int,
    rounds: int,
    burst: Burst = BURST,
    rest: Callable[[], object] = wait_until_idle,
    now: Callable[[], float] = time.perf_counter,
    watch: Watch = unwatched,
) -> Comparison:
    """Run a network on all engines, with the same weights and the same images.

    An engine that cannot run the network, or whose output has another shape or is not finite, is
    `absent` with its reason; the others go on.

    Args:
        subject: The network.
        engines: Ours and its peers, in the order that they are shown in.
        batch: Images a call.
        threads: Threads for each engine.
        rounds: How often each engine has its turn.
        burst: What a turn is.
        rest: Waits until the engine before has gone to sleep.
        now: Reads the clock.
        watch: Shows a person how far it has come.

    Raises:
        ModelError: If the network itself does not run, or its output is not one finite tensor.
    """
    images = subject.images(batch)
    absent: dict[str, str] = {}
    remarks: dict[str, str] = {}
    runners: dict[str, Runner] = {}
    errors: dict[str, float] = {}
    with on_threads(threads):
        with located(subject.name):
            expected = float64_output(subject.network, images)
        for engine in watch(engines, f"building {subject.name}"):
            try:
                runner = engine.build(subject.network, images, threads)
                errors[engine.name] = relative_rms(runner(images), expected)
                runners[engine.name] = runner
                if remark := engine.remark(runner):
                    remarks[engine.name] = remark
            except Exception as error:  # noqa: BLE001, RUF100 - whatever a peer fails with
                absent[engine.name] = why_absent(error)
        seconds = measure_interleaved(
            {name: partial(runner, images) for name, runner in runners.items()},
            rounds=rounds,
            burst=burst,
            rest=rest,
            now=now,
            watch=watch,
        )
    results = {
        name: EngineResult(**asdict(spread(seconds[name])), relative_rms=errors[name])
        for name in runners
    }
    return Comparison(
        model=subject.name,
        batch=batch,
        threads=threads,
        engines=results,
        ratios=_ratios(results, seconds),
        absent=absent,
        remarks=remarks,
    )


def _ratios(
    results: dict[str, EngineResult], seconds: dict[str, tuple[float, ...]]
) -> dict[str, float]:
    if OURS not in results or not results[OURS].is_right:
        return {}
    return {
        name: pairwise_ratio(seconds[name], seconds[OURS])
        for name, result in results.items()
        if name != OURS and result.is_right
    }
