"""One trial, and its result on disk."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onebyone.errors import TrainingError
from onebyone.studies.trial import Trial, read_result, run_trial, write_result
from onebyone.training.data import read_data
from tests.studies.small import SCALE, STUDY

DIGITS = read_data("digits")


def trial(arm="two", seed=1):
    return Trial(study=STUDY, scale=SCALE, arm=STUDY.arm(arm), seed=seed)


@pytest.fixture(scope="module")
def result():
    return run_trial(trial(), DIGITS)


def test_it_gives_the_same_again_whatever_was_drawn_before(result):
    torch.randn(7)
    assert run_trial(trial(), DIGITS).rows == result.rows


def test_another_seed_gives_something_else(result):
    assert run_trial(trial(seed=2), DIGITS).rows["two"] != result.rows["two"]


def test_conditions_are_named_in_full_and_the_arm_has_its_score(result):
    assert set(result.rows) == {"two", "two/drawn"}
    assert set(result.rows["two"]) == {"accuracy", "loss", "norm"}
    assert 0.1 < result.rows["two"]["accuracy"] <= 1


def test_it_says_what_it_depends_on(result):
    about = result.about
    assert (about["arm"], about["seed"], about["images"]) == ("two", 1, 200)
    assert about["recipe"]["learning_rate"] == 0.05  # the arm's own
    network = trial().build(DIGITS)
    assert about["params"] == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *DIGITS.image_shape))
    assert about["macs"] == counter.get_total_flops() // 2


def test_networks_that_are_alike_start_alike_and_torchs_generator_stays():
    before = torch.get_rng_state()
    one, same = trial().build(DIGITS), trial().build(DIGITS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one[1].weight, same[1].weight)
    assert not torch.equal(one[1].weight, trial(seed=2).build(DIGITS)[1].weight)


def test_what_is_written_is_read_again(result, tmp_path):
    path = tmp_path / "two-1.json"
    write_result(path, result)
    assert read_result(path, trial().about(DIGITS)) == result
    assert [one.name for one in tmp_path.iterdir()] == ["two-1.json"]


def test_a_result_of_another_plan_is_refused(result, tmp_path):
    path = tmp_path / "two-1.json"
    write_result(path, result)
    longer = replace(SCALE, recipe=replace(SCALE.recipe, epochs=3))
    wanted = replace(trial(), scale=longer).about(DIGITS)
    with pytest.raises(TrainingError) as caught:
        read_result(path, wanted)
    assert str(caught.value) == (
        f"{path} is of a trial with recipe.epochs 2, and 3 is planned; name another folder by "
        "--out, or delete this one"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": "one"}'])
def test_a_damaged_result_is_refused(content, tmp_path):
    path = tmp_path / "two-1.json"
    path.write_text(content)
    with pytest.raises(TrainingError, match="is no result of a trial, or damaged"):
        read_result(path, {})


def test_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "two-1.json"
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(TrainingError, match="is of format 99, and this version"):
        read_result(path, {})


def test_a_result_that_cannot_be_written_is_one_line(result, tmp_path):
    with pytest.raises(TrainingError, match="^cannot write .*nowhere"):
        write_result(tmp_path / "nowhere" / "two-1.json", result)
