"""What this machine's processor is, as Linux tells it, on x86 and aarch64."""

import ctypes
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


ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""Of Linux on x86_64: a system call, what it is asked for, and the registers that it is for."""


@functools.cache
def may_use_tiles() -> bool:
    """Ask Linux for the registers of matrix tiles (AMX), once for all threads of this process.

    They are large, so a process has them only after it has asked; children have what it has.
    """
    libc = ctypes.CDLL(None)
    request = (
        ctypes.c_long(ARCH_PRCTL),
        ctypes.c_long(REQUEST_PERMISSION),
        ctypes.c_long(TILE_DATA),
    )
    return libc.syscall(*request) == 0


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else ""
