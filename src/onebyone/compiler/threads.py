"""How many threads there may be, and how many there should."""

import os
from pathlib import Path

MOST_THREADS = 1024
"""More than any machine has cores; asked for far more, systems and OpenMP give out."""


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, and its share of a container's."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, _cgroup_cores(Path("/sys/fs/cgroup")) or cores))


def _cgroup_cores(root: Path) -> int | None:
    """Return the whole cores of a container's limit, or None without one; versions 2 and 1."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return None
    if quota in ("max", "-1"):
        return None
    return max(1, int(quota) // int(period))
