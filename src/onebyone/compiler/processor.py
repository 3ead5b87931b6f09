"""What this machine's processor is, as Linux tells it, on x86 and aarch64."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Processor:
    """Hold what is known of a processor: its model's name, or "", and its features."""

    name: str
    features: frozenset[str]


@functools.cache
def this_processor() -> Processor:
    """Return the processor that we run on."""
    return read_processor(CPUINFO)


def read_processor(cpuinfo: Path) -> Processor:
    """Return the processor that a file describes as Linux does; nothing is known without one."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    features = _field(text, "flags") or _field(text, "Features")
    return Processor(_field(text, "model name"), frozenset(features.split()))


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else ""
