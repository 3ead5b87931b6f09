"""One network on several engines, each in a process of its own, which take turns."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onebyone.bench.accuracy import is_right
from onebyone.bench.crew import Worker, open_crew
from onebyone.bench.engine import Engine
from onebyone.bench.engines import OURS, find_engine
from onebyone.bench.measure import (
    RatioSpread,
    Spread,
    Watch,
    ratio_spread,
    rotated,
    spread,
    unwatched,
)
from onebyone.bench.numerics import FP32, label, without_fp32
from onebyone.bench.subject import Subject
from onebyone.bench.threads import on_threads
from onebyone.bench.worker import Order, Ready
from onebyone.errors import EngineError, first_line

NEVER_SLEEPS = "its threads did not go to sleep between turns: it took time from the others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Say what one round does with one engine: a loop, and a burst after a pause.

    Attributes:
        loop_calls: Calls of the loop, at least; the first third of them does not count.
        loop_seconds: How long the loop is, at least.
        pause_seconds: Sleep between the engine's having gone to sleep and the burst.
        burst_calls: Calls of the burst, all of which count.
    """

    loop_calls: int = 9
    loop_seconds: float = 0.15
    pause_seconds: float = 0.05
    burst_calls: int = 4


TURN = Turn()


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedResult:
    """How one engine did on one network, in a process of its own.

    Attributes:
        loop: A call in a loop, over the rounds.
        burst: A call of the burst after a pause, over the rounds.
        relative_rms: Root mean square of its output's error, over that of the output in float64.
        numerics: What it computes with.
    """

    loop: Spread
    burst: Spread
    relative_rms: float
    numerics: str = FP32

    @property
    def is_right(self) -> bool:
        """Whether the output is its numerics'; an engine that did another work has no ratio."""
        return is_right(self.relative_rms, self.numerics)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedComparison:
    """How engines did on one network, each in a process of its own.

    Attributes:
        model: What the user calls the network.
        batch: Images a call.
        threads: Threads that each engine had.
        rounds: Turns that each engine had.
        engines: The results, by the engine's label.
        loop_ratios: Each engine's loop over ours, for those whose output is right, if ours is.
        burst_ratios: The same of the bursts.
        absent: Why an engine has no result.
        remarks: What one must know of an engine's result, such as parts that it left to PyTorch.
        numerics: What ours computes with where ratios are to it.
    """

    model: str
    batch: int
    threads: int
    rounds: int
    engines: dict[str, IsolatedResult]
    loop_ratios: dict[str, RatioSpread]
    burst_ratios: dict[str, RatioSpread]
    absent: dict[str, str]
    remarks: dict[str, str]
    numerics: str = FP32

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, which names numerics where they are not float32."""
        return {"isolated": True} | asdict(self, dict_factory=without_fp32)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A turn that was taken: middle of its loop, and of its burst; whether the engine sleeps."""

    loop: float
    burst: float
    sleeps: bool


def compare_isolated(
    subject: Subject,
    engines: Sequence[Engine],
    *,
    batch: int,
    threads: int,
    rounds: int,
    numerics: str = FP32,
    turn: Turn = TURN,
    find: Callable[[str, str], Engine] = find_engine,
    watch: Watch = unwatched,
) -> IsolatedComparison:
    """Run a network on all engines, each in a process of its own.

    An engine that cannot run the network, whose output has another shape or is not finite, or whose
    process ends, is `absent` with its reason; the others go on.

    Args:
        subject: The network; processes build it by its name, and take its weights.
        engines: Ours and its peers, in the order that they are built in; a process finds its own
            by name and numerics.
        batch: Images a call.
        threads: Threads for each engine.
        rounds: How often each engine has its turn.
        numerics: What ours computes with where ratios are to it.
        turn: What a turn is.
        find: Gives the engine of a name and of numerics; a function that an import finds.
        watch: Shows a person how far it has come.

    Raises:
        ModelError: If the network itself does not run, or its output is not one finite tensor.
    """
    workers: dict[str, Worker] = {}
    ready: dict[str, Ready] = {}
    absent: dict[str, str] = {}
    with on_threads(threads), open_crew(subject, batch=batch, find=find) as crew:
        for engine in watch(engines, f"building {subject.name}"):
            try:
                workers[engine.label], ready[engine.label] = crew.hire(
                    engine.name, threads=threads, numerics=engine.numerics
                )
            except EngineError as error:
                absent[engine.label] = first_line(error)
        taken = _take_turns(workers, absent, rounds=rounds, turn=turn, watch=watch)
    computes_with = {engine.label: engine.numerics for engine in engines}
    results = {
        name: IsolatedResult(
            loop=spread([one.loop for one in turns]),
            burst=spread([one.burst for one in turns]),
            relative_rms=ready[name].relative_rms,
            numerics=computes_with[name],
        )
        for name, turns in taken.items()
    }
    ours = label(OURS, numerics)
    remarks = {name: _remark(ready[name], turns) for name, turns in taken.items()}
    return IsolatedComparison(
        model=subject.name,
        batch=batch,
        threads=threads,
        rounds=rounds,
        engines=results,
        loop_ratios=_ratios(
            results, {name: [one.loop for one in turns] for name, turns in taken.items()}, ours
        ),
        burst_ratios=_ratios(
            results, {name: [one.burst for one in turns] for name, turns in taken.items()}, ours
        ),
        absent=absent,
        remarks={name: remark for name, remark in remarks.items() if remark},
        numerics=numerics,
    )


def _take_turns(
    workers: Mapping[str, Worker],
    absent: dict[str, str],
    *,
    rounds: int,
    turn: Turn,
    watch: Watch,
) -> dict[str, list[_Taken]]:
    """Let each engine have its turn in every round; one that fails is absent from then on."""
    taken: dict[str, list[_Taken]] = {name: [] for name in workers}
    for number in watch(range(rounds), "measuring"):
        for name in rotated(list(taken), number):
            try:
                taken[name].append(_take_turn(workers[name], turn))
            except EngineError as error:
                absent[name] = first_line(error)
                del taken[name]
    return taken


def _take_turn(worker: Worker, turn: Turn) -> _Taken:
    """Let an engine run its loop, go to sleep, and run its burst after the pause."""
    loop = worker.ask(Order(calls=turn.loop_calls, seconds=turn.loop_seconds))
    burst = worker.ask(Order(pause_seconds=turn.pause_seconds, calls=turn.burst_calls))
    return _Taken(
        loop=statistics.median(loop.seconds[len(loop.seconds) // 3 :]),
        burst=statistics.median(burst.seconds),
        sleeps=loop.sleeps and burst.sleeps,
    )


def _remark(ready: Ready, turns: Sequence[_Taken]) -> str:
    never = [NEVER_SLEEPS] if not any(turn.sleeps for turn in turns) else []
    return "; ".join(filter(None, [ready.remark, *never]))


def _ratios(
    results: Mapping[str, IsolatedResult], seconds: Mapping[str, Sequence[float]], ours: str
) -> dict[str, RatioSpread]:
    if ours not in results or not results[ours].is_right:
        return {}
    return {
        name: ratio_spread(seconds[name], seconds[ours])
        for name, result in results.items()
        if name != ours and result.is_right
    }
