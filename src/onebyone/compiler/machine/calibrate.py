"""The processor that this is, with how fast it is: looked up, or measured once and kept."""

import functools
import hashlib
import json
import time
from dataclasses import replace
from threading import Lock
from typing import Any

from onebyone.compiler.machine.measure import Calibration, measure_speeds
from onebyone.compiler.machine.speeds import NOMINAL, Speeds
from onebyone.compiler.processor import private_cache_bytes, this_processor
from onebyone.compiler.target import Target, host_target
from onebyone.compiler.threads import usable_cores
from onebyone.store import keep_content, read_content

FORMAT = 2
"""Of what is kept; what an older version kept is measured again."""

BUSY_SECONDS = 3600
"""How long speeds are used that were measured while others used the machine."""

_measuring = Lock()


def calibrated_target() -> Target:
    """Return the best target that this machine can run, with this machine's speeds and cache.

    They are measured at the first call, which takes half a second, and kept on disk.

    Raises:
        CompileError: If there is no target for this machine.
    """
    with _measuring:  # two at once would make each other slow
        return _calibrated_target()


@functools.cache
def _calibrated_target() -> Target:
    target = host_target()
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


def calibrate(target: Target) -> Calibration:
    """Measure this machine, and keep what was found."""
    measured = measure_speeds(target, usable_cores())
    content = json.dumps(measured.to_json(), indent=1)
    keep_content(_key(target), content.encode(), {"machine": this_processor().name})
    return measured


def find_calibration(target: Target) -> Calibration | None:
    """Return what was measured before on a machine like this one; None if nothing was."""
    content = read_content(_key(target))
    try:
        return None if content is None else Calibration.of_json(json.loads(content))
    except (ValueError, KeyError, TypeError):
        return None


def _key(target: Target) -> str:
    facts = {"speeds": FORMAT} | machine_facts(target)
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
