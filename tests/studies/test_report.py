"""What a study's text and picture say of made-up trials."""

import re
from dataclasses import replace

import pytest

from onebyone.studies.outcome import conclude
from onebyone.studies.plot import draw
from onebyone.studies.speed import Milliseconds, Speed
from onebyone.studies.text import describe
from onebyone.studies.trial import TrialResult
from onebyone.training.data import read_data
from tests.studies.small import SCALE, STUDY

DIGITS = read_data("digits")
VERSIONS = {"onebyone": "0", "torch": "2", "python": "3", "instructions": "AVX2"}


def conclude_from(accuracies, tmp_path, *, speed=None, is_quick=False, study=STUDY):
    """Conclude from the accuracies of both arms, seed by seed."""
    trials = [
        TrialResult(
            about={"arm": arm, "seed": seed, "macs": macs, "params": 10 * macs},
            rows={
                arm: {"accuracy": accuracy, "loss": 1 - accuracy, "norm": 1.0 + seed},
                f"{arm}/drawn": {"norm": 0.5},
            },
            seconds=90.0,
            versions=VERSIONS,
        )
        for seed, pair in enumerate(accuracies)
        for arm, macs, accuracy in zip(("linear", "two"), (640, 2368), pair, strict=True)
    ]
    scale = replace(SCALE, seeds=len(accuracies))
    return conclude(study, scale, trials, speed, tmp_path, is_quick=is_quick)


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ((0.01, 0.02, 0.015), "Two are better."),
        ((-0.01, -0.02, -0.015), "One is better."),
        ((0.01, -0.02, 0.015), "It cannot be told."),
        ((0.0, 0.0, 0.0), "It cannot be told."),
    ],
)
def test_the_numbers_choose_the_words(gains, answer, tmp_path):
    result = conclude_from([(0.9 + g / 3, 0.9 + g / 3 + g) for g in gains], tmp_path)
    (verdict,) = result.verdicts
    assert verdict.text == answer
    text = describe(result, DIGITS)
    assert f"**Are two better?** {answer} *" in text
    others = {"Two are better.", "One is better.", "It cannot be told."} - {answer}
    assert not any(other in text for other in others)


def test_between_two_errors_and_the_interval_it_says_that_it_is_weak(tmp_path):
    result = conclude_from([(0.8, 0.8 + g / 100) for g in (0.1, 0.8, 1.2, 0.0, 0.3)], tmp_path)
    assert result.verdicts[0].text.startswith("Two are better. (Of so few seeds this is weak")


def test_the_text_has_the_numbers(tmp_path):
    result = conclude_from([(0.90, 0.91), (0.92, 0.94)], tmp_path)
    text = describe(result, DIGITS)
    assert "| one layer | 640 | 6,400 |" in text
    assert "| one layer | 91.00 ± 1.00 | 0.0900 ± 0.0100 | 1.50 ± 0.50 |" in text
    assert "| one layer, drawn at random | 0.50 ± 0.00 |" in text
    assert "| two layers minus one layer | test accuracy, % | +1.500 ± 0.500 | -4.853 to " in text
    assert "trained 2 times, with seeds 0 to 1, on 200 images of digits" in text
    assert "which is 14 steps: SGD, one-cycle schedule" in text
    assert "two layers: 0.05" in text
    assert "onebyone study small --seeds 2\n" in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Two networks",
        "## How it was done",
        "## Results",
        "## What follows",
        "## Limits",
        "## Where this comes from",
    ]


def test_tables_are_tables(tmp_path):
    text = describe(conclude_from([(0.90, 0.91), (0.92, 0.94)], tmp_path), DIGITS)
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_the_quick_form_says_that_it_is_nothing_to_learn_from(tmp_path):
    accuracies = [(0.90, 0.91), (0.92, 0.94)]
    assert "nothing is to be learnt" in describe(
        conclude_from(accuracies, tmp_path, is_quick=True), DIGITS
    )
    assert "nothing is to be learnt" not in describe(conclude_from(accuracies, tmp_path), DIGITS)


def test_times_come_with_their_machine(tmp_path):
    times = {
        arm: {"eager_ms_1": Milliseconds(median=m, p10=m, p90=m)}
        for arm, m in (("linear", 1.25), ("two", 2.5))
    }
    speed = Speed(about={}, machine="a machine", times=times)
    result = conclude_from([(0.90, 0.91), (0.92, 0.94)], tmp_path, speed=speed)
    text = describe(result, DIGITS)
    assert "| ms in PyTorch, batch 1 |" in text
    assert "| 2.50 |" in text
    assert "into the convolutions: a machine." in text
    assert result.along("two/drawn", "eager_ms_1") == 2.5  # its arm's


def test_the_picture_names_what_it_shows(tmp_path):
    svg, png = draw(conclude_from([(0.90, 0.91), (0.92, 0.94)], tmp_path))
    assert png.startswith(b"\x89PNG")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"Norms", "Beside one layer", "two layers", "norm", "parameters, k"} <= set(texts)
    assert "test accuracy, %: difference from one layer" in texts
    assert "one layer" not in texts  # what the others are compared with
