"""One network on several engines: checked against float64, then timed in turn."""

import copy
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

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
from onebyone.bench.peers import OURS, Engine, Runner
from onebyone.bench.subject import Subject
from onebyone.errors import ModelError, OneByOneError, first_line, summary

LARGEST_ERROR = 1e-3
"""Relative RMS beyond which an output is wrong.

float32 engines differ by 1e-7 to 1e-5, with Winograd's convolutions at the upper end; bfloat16
gives about 1e-2. An engine that is wrong gets no ratio: it did another work.
"""

_EXTRA = ("onnx", "onnxscript", "onnxruntime", "openvino")


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
        """Whether the output is float32's."""
        return self.relative_rms <= LARGEST_ERROR


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
    """

    model: str
    batch: int
    threads: int
    engines: dict[str, EngineResult]
    ratios: dict[str, float]
    absent: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def compare(
    subject: Subject,
    engines: Sequence[Engine],
    *,
    batch: int,
    threads: int,
    rounds: int,
    burst: Burst = BURST,
    rest: Callable[[], None] = wait_until_idle,
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
    runners: dict[str, Runner] = {}
    errors: dict[str, float] = {}
    with _torch_threads(threads):
        expected = _reference(subject, images)
        for engine in watch(engines, f"building {subject.name}"):
            try:
                runner = engine.build(subject.network, images, threads)
                errors[engine.name] = _check(runner(images), expected)
                runners[engine.name] = runner
            except Exception as error:  # noqa: BLE001, RUF100 - whatever a peer fails with
                absent[engine.name] = _reason(error)
        seconds = measure_interleaved(
            {name: _bind(runner, images) for name, runner in runners.items()},
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
    )


def relative_rms(output: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the error over that of the expected output.

    Example:
        >>> relative_rms(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
        0.09...
    """
    error, scale = (output.double() - expected).norm(), expected.norm()
    return float(error / scale) if scale else float(error)


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


def _reference(subject: Subject, images: Tensor) -> Tensor:
    try:
        with torch.inference_mode():
            expected = copy.deepcopy(subject.network).double()(images.double())
    except Exception as error:
        raise ModelError(
            f"{subject.name} failed on images {tuple(images.shape)} with {summary(error)}"
        ) from error
    if not isinstance(expected, Tensor):
        raise ModelError(f"{subject.name} gives a {type(expected).__name__}; one tensor was wanted")
    if not expected.isfinite().all():
        raise ModelError(f"{subject.name} gives numbers that are not finite; check its weights")
    return expected


def _check(output: Tensor, expected: Tensor) -> float:
    if output.shape != expected.shape:
        raise ValueError(f"its output is {tuple(output.shape)}; {tuple(expected.shape)} was wanted")
    error = relative_rms(output, expected)
    if not math.isfinite(error):
        raise ValueError("its output has numbers that are not finite")
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRA:
        return f"{error.name} is not installed: pip install 'onebyone[bench]'"
    return first_line(error) if isinstance(error, OneByOneError) else summary(error)


def _bind(runner: Runner, images: Tensor) -> Callable[[], object]:
    return lambda: runner(images)


@contextmanager
def _torch_threads(threads: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
