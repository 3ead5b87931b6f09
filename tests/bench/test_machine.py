"""The description of machines: this one, and some that we only have the file of."""

import json

from onebyone.bench import describe_machine
from onebyone.compiler import usable_cores

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) 6980P
flags\t\t: fpu sse4_2 avx fma avx2 avx512f avx512_vnni amx_tile avx512bw

processor\t: 1
model name\t: another
flags\t\t: none
"""
ARM = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd sve sve2\nCPU part\t: 0xd4f\n"


def test_this_machine():
    machine = describe_machine()
    content = machine.to_json()
    assert list(content) == ["cpu", "cores", "isa", "system", "python", "packages"]
    assert json.loads(json.dumps(content)) == {**content, "isa": list(content["isa"])}
    assert content["cpu"]
    assert content["cores"] == usable_cores()
    assert content["packages"]["torch"].startswith("2.")
    assert content["packages"]["onebyone"]


def test_other_machines(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(INTEL)
    machine = describe_machine(path)
    assert machine.cpu == "Intel(R) Xeon(R) 6980P"
    assert machine.isa == ("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512_vnni", "amx_tile")
    path.write_text(ARM)
    assert describe_machine(path).isa == ("asimd", "sve")
    assert describe_machine(path).cpu
    assert describe_machine(tmp_path / "none").isa == ()


def test_the_line_names_what_is_installed(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(INTEL)
    monkeypatch.setattr("onebyone.compiler.threads._cgroup_cores", lambda _: 1)
    monkeypatch.setattr("onebyone.bench.machine.peer_packages", lambda: ("no-such-engine",))
    machine = describe_machine(path)
    assert machine.packages["no-such-engine"] is None
    assert str(machine).startswith("Intel(R) Xeon(R) 6980P, 1 core, sse4_2 avx ")
    assert ", torch 2." in str(machine)
    assert "no-such-engine" not in str(machine)
