"""Targets, and what processors have to have for them."""

import pytest

from onebyone.compiler import target as module
from onebyone.compiler.processor import Processor, read_processor
from onebyone.compiler.target import TARGETS, can_run, find_target, host_target
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
    processor = Processor("", frozenset(flags.split()))
    monkeypatch.setattr(module, "this_processor", lambda: processor)
    assert host_target.__wrapped__().name == name
    assert can_run(TARGETS[name])


def test_other_processors_are_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CompileError, match="riscv64"):
        host_target.__wrapped__()


CPUINFOS = {
    "x86": (
        "model name\t: Xeon 3\nflags\t\t: fpu avx2 fma\n",
        Processor("Xeon 3", frozenset({"fpu", "avx2", "fma"})),
    ),
    "aarch64": (
        "Features\t: fp asimd\n\nCPU part\t: 0xd0c\n",
        Processor("", frozenset({"fp", "asimd"})),
    ),
    "another": ("isa\t: rv64\n", Processor("", frozenset())),
}


@pytest.mark.parametrize(("text", "processor"), CPUINFOS.values(), ids=CPUINFOS)
def test_processors_are_read_as_linux_shows_them(text, processor, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    assert read_processor(tmp_path / "cpuinfo") == processor
    assert read_processor(tmp_path / "nowhere") == Processor("", frozenset())
