"""The processor that this is, with how fast it is: looked up, or measured once and kept."""

import functools
import hashlib
import json
import os
import time
from dataclasses import replace
from threading import Lock
from typing import Any

from onebyone.compiler.fork import whole
from onebyone.compiler.machine.speeds import NOMINAL, Calibration, Speeds
from onebyone.compiler.processor import private_cache_bytes, this_processor
from onebyone.compiler.target import Target, host_target
from onebyone.compiler.threads import usable_cores
from onebyone.store import keep_content, read_content

FORMAT = 4
"""Of what is kept; what an older version kept is measured again."""

BUSY_SECONDS = 3600
"""How long speeds are used that were measured while others used the machine."""

_measuring = Lock()


def _free_lock() -> None:
    """Give a forked child a lock of its own: who held the other one is not there."""
    global _measuring
    _measuring = Lock()


os.register_at_fork(after_in_child=_free_lock)


def calibrated_target(numerics: str = "fp32") -> Target:
    """Return the best target that this machine can run, with this machine's speeds and cache.

    They are measured at the first call, which takes half a second, and kept on disk.

    Raises:
        CompileError: If there is no target for this machine.
    """
    with _measuring:  # two at once would make each other slow
        return _calibrated_target(numerics)


@functools.cache
def _calibrated_target(numerics: str = "fp32") -> Target:
    target = host_target(numerics)
    level2_bytes = private_cache_bytes() or target.level2_bytes
    return replace(target, level2_bytes=level2_bytes, speeds=_find_or_measure(target))


def _find_or_measure(target: Target) -> Speeds:
    found = find_calibration(target)
    if found is not None and not _is_due(found):
        return found.speeds
    try:
        return calibrate(target).speeds
    except (MemoryError, RuntimeError):  # no memory, or no threads
        return NOMINAL


def _is_due(found: Calibration) -> bool:
    """Whether a machine that was busy may be so no more.

    Not before: what is compiled depends on what was measured, and would be compiled again.
    """
    return not found.is_steady and time.time() - found.measured_at > BUSY_SECONDS


def calibrate(target: Target, *, again: bool = False) -> Calibration:
    """Measure this machine, and keep what was found.

    What one core does alone decides which algorithm a convolution has, and so the bits of results.
    It is measured once for a machine, and not for each number of cores that a process may use;
    `again` measures it too.
    """
    with whole:  # as in `build`: what looks a machine up needs no LLVM
        from onebyone.compiler.machine.measure import measure_speeds

    measured = measure_speeds(target, usable_cores())
    before = None if again else _read(target, cores=None)
    if before is not None and before.is_steady:
        alone = before.speeds
        speeds = replace(
            measured.speeds,
            steps_per_second=alone.steps_per_second,
            bf16_macs_per_second=alone.bf16_macs_per_second,
            readings=alone.readings,
        )
        measured = replace(measured, speeds=speeds)
    else:
        _keep(target, measured, cores=None)
    _keep(target, measured, cores=usable_cores())
    return measured


def find_calibration(target: Target) -> Calibration | None:
    """Return what was measured before on a machine like this one; None if nothing was."""
    return _read(target, cores=usable_cores())


def _read(target: Target, cores: int | None) -> Calibration | None:
    content = read_content(_key(target, cores))
    try:
        return None if content is None else Calibration.of_json(json.loads(content))
    except (ValueError, KeyError, TypeError):
        return None


def _keep(target: Target, measured: Calibration, cores: int | None) -> None:
    content = json.dumps(measured.to_json(), indent=1)
    keep_content(_key(target, cores), content.encode(), {"machine": this_processor().name})


def _key(target: Target, cores: int | None) -> str:
    facts = {"speeds": FORMAT} | machine_facts(target) | {"cores": cores}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def machine_facts(target: Target) -> dict[str, Any]:
    """Return what speeds depend on, as `json` can write it."""
    processor = this_processor()
    return {
        "processor": processor.name,
        "features": " ".join(sorted(processor.features)),
        "level2_bytes": private_cache_bytes(),
        "cores": usable_cores(),
        "target": target.name,
    }
