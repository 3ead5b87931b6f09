"""The study of what reductions keep: every condition that is asked after is measured."""

from itertools import product

import pytest
import torch

from onebyone.studies.keeps import ARMS, CHOICES, PARTS, RENEWED, STUDY, measure_replaced
from onebyone.training.data import read_data
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import evaluate


@pytest.fixture(scope="module")
def data():
    return read_data("digits")


@pytest.fixture(scope="module")
def network(data):
    torch.manual_seed(0)
    return STUDY.arms[0].build(data).eval()


@pytest.fixture(scope="module")
def rows(network, data):
    torch.manual_seed(0)
    score = evaluate(network, data.test, make_engine(), batch_size=256)
    return measure_replaced(network, data, score)


def test_every_way_is_measured_with_both_norms(rows):
    ways = {f"{choice}-{part}" for choice, part in product(CHOICES, PARTS)}
    assert set(rows) == {"", RENEWED} | ways | {f"{way}-{RENEWED}" for way in ways}


def test_comparisons_and_panels_name_what_is_measured(rows):
    conditions = {f"{arm}/{name}".rstrip("/") for arm, name in product(ARMS, rows)}
    asked = {one.this for one in STUDY.comparisons} | {one.that for one in STUDY.comparisons}
    shown = {
        condition
        for panel in STUDY.panels
        for series in panel.series
        for condition in series.conditions
    }
    assert asked <= conditions
    assert shown <= conditions


def test_components_of_the_input_keep_most_of_it(rows):
    for part in PARTS:
        kept = {choice: rows[f"{choice}-{part}"]["kept"] for choice in CHOICES}
        assert max(kept, key=kept.__getitem__) == "inputs"


def test_more_of_the_rank_keeps_more(rows):
    for choice in CHOICES:
        assert rows[f"{choice}-half"]["kept"] > rows[f"{choice}-fourth"]["kept"]
