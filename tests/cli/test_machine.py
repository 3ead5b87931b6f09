"""`onebyone machine`."""

import json
import sys
import time

import pytest

from onebyone.cli import main
from onebyone.compiler.machine import measure as module
from onebyone.compiler.machine.speeds import NOMINAL, Calibration
from onebyone.compiler.target import host_target, runs_here


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["onebyone", "machine", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def spreads(monkeypatch, tmp_path):
    """How busy the machine will be each time that it is measured."""
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    spreads = [0.02, 0.5]

    def measure_speeds(target, cores):
        if target.bf16:
            return Calibration(speeds=NOMINAL, spread=0.01, measured_at=time.time())
        return Calibration(speeds=NOMINAL, spread=spreads.pop(0), measured_at=time.time())

    monkeypatch.setattr(module, "measure_speeds", measure_speeds)
    return spreads


def test_it_says_what_it_found_in_a_hundred_columns(run, spreads):
    out = run()
    assert "GMAC/s" in out
    assert "Roofline of a 1x1 convolution" in out
    assert "2% slower than the fastest, which counts" in out
    assert max(map(len, out.splitlines())) <= 100


def test_it_is_measured_again_when_asked(run, spreads):
    run()
    assert len(spreads) == 1
    run()
    assert len(spreads) == 1
    assert "was busy: the middle of all rounds was 50% slower" in run("--again")
    assert spreads == []


def test_as_json(run, spreads):
    content = json.loads(run("--json"))
    assert content["is_steady"]
    assert content["speeds"] == json.loads(json.dumps(NOMINAL.to_json()))
    assert content["machine"]["cores"] >= 1


@pytest.mark.skipif(not runs_here("bf16"), reason="this processor does not multiply bfloat16")
def test_bfloat16_has_a_row_of_its_own(run, spreads):
    name = host_target("bf16").name
    assert f"bfloat16 ({name}), GMAC/s" in run()
    content = json.loads(run("--json"))
    assert content["bf16"]["target"] == name
    assert content["bf16"]["speeds"]["bf16_macs_per_second"] == NOMINAL.bf16_macs_per_second


def test_the_roofline_is_the_lower_of_two_lines(run, spreads):
    # 25 GB/s from memory; each weight, of 4 bytes, is multiplied with each pixel.
    rows = {line.split("  ")[0]: line.split() for line in run().splitlines()}
    assert float(rows["1 (linear)"][3]) == pytest.approx(25 / 4, abs=0.05)
    assert float(rows["2 x 2"][4]) == pytest.approx(min(25.0, 4 * float(rows["14 x 14"][4])), abs=1)
