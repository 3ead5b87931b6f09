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
from onebyone.bench.numerics import FP32, label, without_fp32
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
        numerics: What it computes with.
    """

    median_seconds: float
    p10_seconds: float
    p90_seconds: float
    relative_rms: float
    numerics: str = FP32

    @property
    def is_right(self) -> bool:
        """Whether the output is its numerics'; an engine that did another work has no ratio."""
        return is_right(self.relative_rms, self.numerics)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How engines did on one network.

    Attributes:
        model: What the user calls the network.
        batch: Images a call.
        threads: Threads that each engine had.
        engines: The results, by the engine's label.
        ratios: Each engine's time over ours, for those whose output is right, if ours is.
        absent: Why an engine has no result.
        remarks: What one must know of an engine's result, such as parts that it left to PyTorch.
        numerics: What ours computes with where ratios are to it.
    """

    model: str
    batch: int
    threads: int
    engines: dict[str, EngineResult]
    ratios: dict[str, float]
    absent: dict[str, str]
    remarks: dict[str, str]
    numerics: str = FP32

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, which names numerics where they are not float32."""
        return {"isolated": False} | asdict(self, dict_factory=without_fp32)


def compare(
    subject: Subject,
    engines: Sequence[Engine],
    *,
    batch: int,
    threads: int,
    rounds: int,
    numerics: str = FP32,
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
        engines: Ours and its peers, in the order that they are built in.
        batch: Images a call.
        threads: Threads for each engine.
        rounds: How often each engine has its turn.
        numerics: What ours computes with where ratios are to it.
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
                errors[engine.label] = relative_rms(runner(images), expected)
                runners[engine.label] = runner
                if remark := engine.remark(runner):
                    remarks[engine.label] = remark
            except Exception as error:  # noqa: BLE001, RUF100 - whatever a peer fails with
                absent[engine.label] = why_absent(error)
        seconds = measure_interleaved(
            {name: partial(runner, images) for name, runner in runners.items()},
            rounds=rounds,
            burst=burst,
            rest=rest,
            now=now,
            watch=watch,
        )
    results = {
        engine.label: EngineResult(
            **asdict(spread(seconds[engine.label])),
            relative_rms=errors[engine.label],
            numerics=engine.numerics,
        )
        for engine in engines
        if engine.label in runners
    }
    return Comparison(
        model=subject.name,
        batch=batch,
        threads=threads,
        engines=results,
        ratios=_ratios(results, seconds, label(OURS, numerics)),
        absent=absent,
        remarks=remarks,
        numerics=numerics,
    )


def _ratios(
    results: dict[str, EngineResult], seconds: dict[str, tuple[float, ...]], ours: str
) -> dict[str, float]:
    if ours not in results or not results[ours].is_right:
        return {}
    return {
        name: pairwise_ratio(seconds[name], seconds[ours])
        for name, result in results.items()
        if name != ours and result.is_right
    }
