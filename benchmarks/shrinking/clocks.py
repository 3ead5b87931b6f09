"""How long networks take beside the original: two runtimes, one image and 32."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from onebyone.bench import Burst, measure_interleaved, pairwise_ratio, spread
from onebyone.bench.machine import describe_machine
from onebyone.files import replacing
from onebyone.shrinking.runtimes import find_runtime
from shrinking.making import Made, load_made, read_made

SETTINGS = {
    f"{runtime}-{batch}": (runtime, batch)
    for runtime in ("compiled", "onnxruntime")
    for batch in (1, 32)
}
"""All on one thread."""

AT_ONCE = 12
"""Networks that are measured side by side, the original among them."""

ROUNDS = 15

SEED = 0
"""Whose networks are timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How long a network takes.

    Attributes:
        key: Of the network.
        setting: What it was measured in.
        share: Of the original's time: the median over rounds.
        seconds: Of a call, median.
        p10_seconds: All but the fastest tenth take longer.
        p90_seconds: All but the slowest tenth are faster.
        machine: Where.
    """

    key: str
    setting: str
    share: float
    seconds: float
    p10_seconds: float
    p90_seconds: float
    machine: str


def time_networks(name: str, folder: Path) -> None:
    """Time all networks that were made of one, as far as that was not done before."""
    made = [
        one for one in read_made(folder) if one.network == name and one.seed == SEED and one.macs
    ]
    (original,) = (one for one in made if one.method == "original")
    for setting in SETTINGS:
        file = folder.parent / f"times-{name}-{setting}.json"
        known: dict[str, Timed] = read_times(file)
        groups = _missing(made, folder, known)
        for start in range(0, len(groups), AT_ONCE - 1):
            some = groups[start : start + AT_ONCE - 1]
            found = _time(original, [one[0] for one in some], folder, setting)
            for alike, timed in zip(some, found, strict=True):
                for one in alike:
                    known[one.key] = Timed(**{**asdict(timed), "key": one.key})
            _write(file, known)
            print(name, setting, start + len(some), "of", len(groups), flush=True)  # noqa: T201


def read_times(file: Path) -> dict[str, Timed]:
    """Return what was measured, by the network's key."""
    if not file.exists():
        return {}
    return {one["key"]: Timed(**one) for one in json.loads(file.read_text())}


def _write(file: Path, known: Mapping[str, Timed]) -> None:
    with replacing(file) as temporary:
        temporary.write_text(json.dumps([asdict(one) for one in known.values()], indent=1) + "\n")


def _missing(made: list[Made], folder: Path, known: Mapping[str, Timed]) -> list[list[Made]]:
    """Return the networks that are not timed yet; those of one structure stand together."""
    alike: dict[str, list[Made]] = {}
    for one in made:
        if one.key not in known:
            network = load_made(folder / f"{one.key}.pt")
            alike.setdefault(_structure(network), []).append(one)
    return list(alike.values())


def _structure(network: nn.Module) -> str:
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    return hashlib.sha256(f"{network!r}{shapes}".encode()).hexdigest()


def _time(original: Made, some: list[Made], folder: Path, setting: str) -> list[Timed]:
    runtime, batch = SETTINGS[setting]
    example = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    calls = {
        one.key: _call(load_made(folder / f"{one.key}.pt"), runtime, example)
        for one in {original.key: original, **{one.key: one for one in some}}.values()
    }
    burst = Burst(timed=9 if batch == 1 else 3)
    times = measure_interleaved(calls, rounds=ROUNDS, burst=burst)
    machine = str(describe_machine())

    def timed(one: Made) -> Timed:
        found = spread(times[one.key])
        return Timed(
            key=one.key,
            setting=setting,
            share=pairwise_ratio(times[one.key], times[original.key]),
            seconds=found.median_seconds,
            p10_seconds=found.p10_seconds,
            p90_seconds=found.p90_seconds,
            machine=machine,
        )

    return [timed(one) for one in some]


def _call(network: nn.Module, runtime: str, example: Tensor) -> Callable[[], object]:
    run = find_runtime(runtime).prepare(network.eval(), example, 1)
    return lambda: run(example)
