"""`onebyone study`: what it prints, and how it ends."""

import json

import pytest

from onebyone.cli.program import run_program
from onebyone.studies import speed
from tests.studies.small import run_here


def test_a_study_runs_in_processes_of_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "BURSTS", {})
    command = ["study", "bottleneck", "--quick", "--seeds", "2", "--out", str(tmp_path)]
    assert run_program([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["study"], printed["quick"], len(printed["trials"])) == ("bottleneck", True, 4)
    assert printed == json.loads((tmp_path / "results.json").read_text())
    assert len(list((tmp_path / "trials").glob("*.json"))) == 4
    assert run_program(command) == 0  # all of it is there
    printed = capsys.readouterr().out
    assert "Is the bottleneck more accurate at the same cost?" in printed
    assert printed.strip().endswith(str(tmp_path / "README.md"))


def test_the_list(capsys):
    assert run_program(["study", "--list"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["bottleneck", "Bottlenecks against plain blocks of the same cost"] in [
        [name, title.strip()] for name, title in lines
    ]
    assert run_program(["study", "--list", "--json"]) == 0
    assert "width" in json.loads(capsys.readouterr().out)["studies"]


def test_ctrl_c_says_what_is_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("onebyone.studies.catalogue.check_study", lambda name: None)
    run_here(monkeypatch, stop_behind=1)
    assert run_program(["study", "small", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == (
        f"onebyone: stopped; 1 of 6 trials are kept in {tmp_path}, and the same command goes on"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a study was wanted: bottleneck, width"),
        (["widht"], "no study 'widht'; did you mean 'width'?"),
        (["width", "--seeds", "1"], "Input should be greater than or equal to 2"),
        (["width", "--out", "/proc/none"], "cannot write /proc/none"),
    ],
)
def test_a_wrong_use_is_one_line(arguments, message, capsys):
    assert run_program(["study", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
