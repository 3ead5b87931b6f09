"""How long layers and networks take here: measured side by side, and what layers take is kept."""

import hashlib
import json
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from onebyone.bench.machine import describe_machine
from onebyone.bench.measure import Spread, Watch, measure_interleaved, spread, unwatched
from onebyone.bench.threads import on_threads
from onebyone.nn.edits import Factorise
from onebyone.shrinking.changes import Change
from onebyone.shrinking.runtimes import find_runtime
from onebyone.store import keep_content, read_content

AT_ONCE = 24
"""Layers that are timed side by side: so many are ready at a time, and drift hits all alike."""

ROUNDS = 7
"""How often each of them has its turn; a turn is five calls."""

WHOLE_ROUNDS = 25
"""How often each network has its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What times are measured with.

    Attributes:
        runtime: What runs networks.
        threads: On how many threads.
        example: What a network reads, `(N, C, H, W)`.
    """

    runtime: str
    threads: int
    example: Tensor

    @property
    def conditions(self) -> dict[str, str | int]:
        """What people should know of how it was measured."""
        return {
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": len(self.example),
            "machine": str(describe_machine()),
        }


def time_layers(
    changes: Sequence[Change], setting: Setting, *, watch: Watch = unwatched
) -> dict[Change, float]:
    """Return the seconds of everything that may become of layers, each by itself.

    Layers of the same sizes are one, and what was measured before on this machine, with these
    versions, is looked up.

    Args:
        changes: What may become of layers.
        setting: What they are timed with.
        watch: Shows a person how far it has come.
    """
    table = TimeTable(setting)
    wanted = {change: _key(change) for change in changes}
    missing = {key: change for change, key in wanted.items() if key not in table.seconds}
    for start in watch(range(0, len(missing), AT_ONCE), "timing layers"):
        some = dict(list(missing.items())[start : start + AT_ONCE])
        table.add(_time_together(some, setting))
    return {change: table.seconds[key] for change, key in wanted.items()}


def measure_whole(
    networks: Sequence[nn.Module], setting: Setting, *, watch: Watch = unwatched
) -> list[Spread]:
    """Return how long networks take, measured side by side.

    Args:
        networks: In evaluation, with batch norms folded.
        setting: What they are timed with.
        watch: Shows a person how far it has come.
    """
    prepare = find_runtime(setting.runtime).prepare
    example = setting.example.contiguous()
    with on_threads(setting.threads), _no_denormals():
        runs = [prepare(network, example, setting.threads) for network in networks]
        calls: dict[str, Callable[[], object]] = {
            str(number): (lambda run=run: run(example)) for number, run in enumerate(runs)
        }
        times = measure_interleaved(calls, rounds=WHOLE_ROUNDS, watch=watch)
    return [spread(times[str(number)]) for number in range(len(networks))]


class TimeTable:
    """Times of layers that were measured on this machine, kept between runs.

    Attributes:
        seconds: By what the layer is.
    """

    def __init__(self, setting: Setting) -> None:
        known = _facts(setting)
        self._key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        self._summary = {"times": f"{setting.runtime}, {setting.threads} threads"}
        self.seconds = _read(self._key)

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take in what was measured, and keep it."""
        # Another process may have measured others meanwhile.
        self.seconds = _read(self._key) | self.seconds | dict(seconds)
        keep_content(self._key, json.dumps(self.seconds).encode(), self._summary)


def _read(key: str) -> dict[str, float]:
    content = read_content(key)
    if content is None:
        return {}
    found = json.loads(content)
    return {name: float(seconds) for name, seconds in found.items()}


def _facts(setting: Setting) -> dict[str, Any]:
    """Return what times depend on, besides the layer."""
    machine = describe_machine()
    packages = find_runtime(setting.runtime).versions
    return {
        "format": 1,
        "runtime": setting.runtime,
        "threads": setting.threads,
        "cpu": machine.cpu,
        "isa": machine.isa,
        "cores": machine.cores,
        "versions": {package: version(package) for package in packages},
    }


def _key(change: Change) -> str:
    """Return what a layer is, as far as its time goes."""
    site, edit = change.site, change.edit
    form = [edit.form, *edit.ranks] if isinstance(edit, Factorise) else []
    sizes = (site.kernel_size, site.stride, site.padding, site.dilation)
    groups = "depthwise" if site.groups > 1 and site.groups == site.in_channels else site.groups
    return json.dumps([change.in_shape, change.out_channels, groups, sizes, site.has_bias, form])


def _time_together(changes: Mapping[str, Change], setting: Setting) -> dict[str, float]:
    """Return the median seconds of some layers, measured in turn."""
    clock = find_runtime(setting.runtime).clock
    generator = torch.Generator().manual_seed(0)
    with on_threads(setting.threads), _no_denormals():
        clocks: dict[str, Callable[[], float]] = {}
        for key, change in changes.items():
            example = torch.randn(change.in_shape, generator=generator)
            clocks[key] = clock(change.build(), example, setting.threads)
        times: dict[str, list[float]] = {key: [] for key in clocks}
        for _ in range(ROUNDS):
            for key, seconds in clocks.items():
                times[key].append(seconds())
    return {key: statistics.median(found) for key, found in times.items()}


@contextmanager
def _no_denormals() -> Generator[None]:
    """Count numbers next to nothing as nothing: processors take ten times as long for them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
