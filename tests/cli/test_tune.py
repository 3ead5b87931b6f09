"""`onebyone tune`."""

import json
import sys

import pytest

from onebyone.cli import main
from onebyone.compiler.machine.calibrate import calibrated_target


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    calibrated_target()
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 48, 1)).eval()\n"
        "make.input_size = 16\n"
    )

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["onebyone", "tune", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


def test_a_table_then_a_file_then_nothing_to_do(run, tmp_path):
    status, out, err = run("net.py:make", "--threads", "1", "--export", "wisdom.json")
    assert (status, err) == (0, "")
    assert out.splitlines()[2].split()[:2] == ["layer", "ways"]
    assert "kinds of layers measured on 1 thread" in out
    assert "wisdom.json: exported" in out
    status, out, _ = run("net.py:make", "--threads", "1", "--import", "wisdom.json")
    assert status == 0
    assert "All that can be measured was known for 1 thread." in out
    assert "wisdom.json: imported" in out


def test_as_json(run):
    _, out, _ = run("net.py:make", "--threads", "1", "--json")
    content = json.loads(out)
    assert content["gain"] >= 1
    assert {"name", "place", "changed", "finding"} == set(content["layers"][0])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "a MODEL to tune was wanted, or --export or --import with a FILE"),
        (["nonsense"], "no model 'nonsense'"),
        (["--import", "none.json"], "none.json: cannot be read"),
        (["--export", "none/w.json"], "--export: a file in a folder that is there was wanted"),
        (["net.py:make", "--export", "."], "--export: a file in a folder that is there"),
        (["net.py:make", "--seconds", "-1"], "Invalid value for '--seconds'"),
    ],
)
def test_wrong_use_is_one_line(run, arguments, line):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert line in err
    assert len(err.splitlines()) == 1
