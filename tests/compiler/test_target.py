"""Targets, and how many cores there are."""

import pytest

from onebyone.compiler import target as module
from onebyone.compiler.target import TARGETS, can_run, find_target, host_target, usable_cores
from onebyone.errors import CompileError, UnknownNameError


def test_names():
    assert {name: target.name for name, target in TARGETS.items()} == {n: n for n in TARGETS}
    assert find_target("avx2") is TARGETS["avx2"]
    with pytest.raises(UnknownNameError, match=r"no target 'avx513'; did you mean 'avx512'"):
        find_target("avx513")


SKYLAKE = "avx2 fma bmi1 bmi2 f16c movbe avx512f avx512bw avx512cd avx512dq avx512vl"
MACHINES = [
    ("x86_64", SKYLAKE, "avx512"),
    ("x86_64", SKYLAKE.replace("avx512vl", ""), "avx2"),
    ("x86_64", "avx2 bmi1 bmi2 f16c movbe", "baseline"),
    ("x86_64", "sse2", "baseline"),
    ("aarch64", "asimd", "neon"),
]


@pytest.mark.parametrize(("machine", "flags", "name"), MACHINES)
def test_the_widest_that_runs_is_chosen(machine, flags, name, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(module, "_cpu_flags", lambda: frozenset(flags.split()))
    assert host_target.__wrapped__().name == name
    assert can_run(TARGETS[name])


def test_other_processors_are_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CompileError, match="riscv64"):
        host_target.__wrapped__()


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
