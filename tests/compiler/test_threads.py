"""How many cores there are for a process."""

import pytest

from onebyone.compiler import threads as module
from onebyone.compiler.threads import usable_cores

LIMITS = [
    ({}, None),
    ({"cpu.max": "max 100000\n"}, None),
    ({"cpu.max": "250000 100000\n"}, 2),
    ({"cpu.max": "50000 100000\n"}, 1),
    ({"cpu.max": "nonsense"}, None),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
]


@pytest.mark.parametrize(("files", "cores"), LIMITS)
def test_a_containers_limit(files, cores, tmp_path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert module._cgroup_cores(tmp_path) == cores


def test_usable_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5})
    for limit, cores in [(None, 3), (2, 2), (8, 3)]:
        monkeypatch.setattr(module, "_cgroup_cores", lambda _, limit=limit: limit)
        assert usable_cores() == cores
