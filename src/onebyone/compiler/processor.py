"""What this machine's processor is, as Linux tells it, on x86 and aarch64."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


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


def private_cache_bytes(caches: Path = CACHES) -> int | None:
    """Return the size of a core's second cache, as Linux tells it; None if it does not."""
    for level in sorted(caches.glob("index*/level")):
        try:
            size = re.match(r"(\d+)([KM])", (level.parent / "size").read_text())
            is_second = level.read_text().strip() == "2"
        except OSError:
            continue
        if is_second and size:
            return int(size[1]) << {"K": 10, "M": 20}[size[2]]
    return None


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else ""
