"""A study from its name to its folder."""

import csv
import json

import pytest

from onebyone.errors import MissingPackageError, ShapeError, TrainingError, UnknownNameError
from onebyone.studies.run import run_study
from tests.helpers.light import hide
from tests.studies.small import run_here


@pytest.fixture
def ran(monkeypatch):
    return run_here(monkeypatch)


def test_it_leaves_numbers_a_picture_and_a_text(ran, tmp_path):
    result = run_study("small", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md", "plot.png", "plot.svg", "results.csv", "results.json", "trials",
    }  # fmt: skip
    assert ran == ["linear-0", "two-0", "linear-1", "two-1", "linear-2", "two-2"]
    content = json.loads((tmp_path / "results.json").read_text())
    assert content == json.loads(json.dumps(result.to_json()))
    (asked,) = content["comparisons"]
    values = {one["name"]: one["values"] for one in content["conditions"]}
    differences = [
        two - one
        for two, one in zip(values["two"]["accuracy"], values["linear"]["accuracy"], strict=True)
    ]
    assert asked["difference"]["mean"] == pytest.approx(sum(differences) / 3)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert [row["accuracy"] for row in rows if row["condition"] == "two"] == [
        str(number) for number in values["two"]["accuracy"]
    ]


def test_what_is_there_is_not_run_again(ran, tmp_path):
    whole = run_study("small", tmp_path).to_json()
    ran.clear()
    (tmp_path / "trials" / "two-1.json").unlink()
    again = run_study("small", tmp_path).to_json()
    assert ran == ["two-1"]
    for content in (whole, again):
        del content["trials"]  # they have times
    assert again == whole


def test_more_and_fewer_seeds(ran, tmp_path):
    run_study("small", tmp_path, seeds=2)
    ran.clear()
    assert run_study("small", tmp_path).scale.seeds == 3
    assert ran == ["linear-2", "two-2"]
    assert len(run_study("small", tmp_path, seeds=2).trials) == 4


def test_ctrl_c_keeps_what_is_done(monkeypatch, tmp_path):
    run_here(monkeypatch, stop_behind=3)
    reached = []
    with pytest.raises(KeyboardInterrupt):
        run_study("small", tmp_path, watch=reached.append)
    assert [(one.done, one.trials) for one in reached] == [(0, 6), (1, 6), (2, 6), (3, 6)]
    assert reached[0].seconds_left is None
    assert reached[3].seconds_left > 0
    assert (reached[3].last.arm, reached[3].last.seed) == ("linear", 1)
    ran = run_here(monkeypatch)
    run_study("small", tmp_path)
    assert ran == ["two-1", "linear-2", "two-2"]


def test_results_of_another_plan_are_not_trusted(ran, tmp_path):
    run_study("small", tmp_path)
    with pytest.raises(TrainingError, match=r"linear-0.json is of a trial with images 200, and "):
        run_study("small", tmp_path, quick=True)


def test_a_folder_that_cannot_be_written_to_is_found_before_the_trials(ran, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="^cannot write .*file"):
        run_study("small", tmp_path / "file")
    assert not ran


@pytest.mark.parametrize("argument", [{"seeds": 1}, {"jobs": 0}])
def test_too_few_are_refused(argument, tmp_path):
    ((name, number),) = argument.items()
    with pytest.raises(ShapeError, match=rf"^`{name}` \(={number}\) must be at least"):
        run_study("bottleneck", tmp_path, **argument)


def test_an_unknown_name_gives_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="no study 'with'; did you mean 'width'"):
        run_study("with", tmp_path)


def test_what_is_missing_is_found_before_the_trials(ran, monkeypatch, tmp_path):
    hide(monkeypatch, "scipy")
    with pytest.raises(MissingPackageError, match=r"needs scipy.*pip install 'onebyone\[train\]'"):
        run_study("small", tmp_path)
    assert not ran
