"""Predictions are the network's scores, sorted and named, or one line that says why not."""

import re

import pytest
import torch
from PIL import Image
from torch import nn

from onebyone.errors import ModelError, PhotoError, ShapeError
from onebyone.models import ModelCard, Preprocess, name_classes, predict

CARD = ModelCard(model="toy", preprocess=Preprocess(8, 8), classes=("a", "b", "c"))
PHOTO = Image.new("RGB", (8, 8))


def scoring(*scores):
    return lambda batch: torch.tensor([scores]).expand(len(batch), -1)


def test_the_best_classes_come_first_with_their_probabilities():
    prediction = predict(scoring(0.0, 2.0, 1.0), CARD, PHOTO, top=2)
    expected = torch.tensor([0.0, 2.0, 1.0], dtype=torch.float64).softmax(0)
    assert [(s.index, s.label) for s in prediction.top] == [(1, "b"), (2, "c")]
    assert [s.probability for s in prediction.top] == pytest.approx(expected[[1, 2]].tolist())
    assert prediction.seconds > 0


def test_rows_of_a_batch_are_named_as_photos_alone_are():
    scores = torch.randn(4, 3)
    named = [name_classes(row, CARD, top=2) for row in scores]
    assert named == [predict(scoring(*row.tolist()), CARD, PHOTO, top=2).top for row in scores]
    with pytest.raises(ModelError, match="not finite real numbers"):
        name_classes(torch.tensor([0.0, float("nan")]), CARD)


def test_there_are_no_more_classes_than_scores():
    assert len(predict(scoring(0.0, 2.0), CARD, PHOTO, top=5).top) == 2


def test_scores_beyond_the_names_are_numbered():
    assert predict(scoring(0.0, 0.0, 0.0, 9.0), CARD, PHOTO).top[0].label == "class 3"


class Failing(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


FAILS = "the network fails on an input of shape (1, 3, 8, 8): "
WANTED = (
    "scores of shape (1, classes) were wanted for one photo, and {} came; a classifier was wanted"
)


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (
            Failing(RuntimeError("two lines,\nof which one is shown")),
            FAILS + "HERE: RuntimeError: two lines,",
        ),
        (
            Failing(AssertionError("Input height doesn't match")),
            FAILS + "HERE: AssertionError: Input height doesn't match",
        ),
        (Failing(RuntimeError()), FAILS + "HERE: RuntimeError: RuntimeError"),
        (nn.Identity(), WANTED.format("(1, 3, 8, 8)")),
        (nn.Flatten(0), WANTED.format("(192,)")),
        (lambda batch: (batch, batch), WANTED.format("tuple")),
        (
            scoring(0.0, float("nan")),
            "the network's scores are not finite real numbers; check its weights",
        ),
        (
            lambda batch: torch.ones(1, 3, dtype=torch.complex64),
            "the network's scores are not finite real numbers; check its weights",
        ),
        (lambda batch: torch.ones(1, 0), WANTED.format("(1, 0)")),
        (Failing(SystemExit(0)), FAILS + "HERE: SystemExit: 0"),
    ],
)
def test_a_network_that_gives_no_scores_is_answered(network, line):
    with pytest.raises(ModelError) as error:
        predict(network, CARD, PHOTO)
    assert re.sub(r"\S*test_predict\.py, line \d+", "HERE", str(error.value)) == line


def test_an_image_that_is_not_rgb_is_answered():
    with pytest.raises(PhotoError) as error:
        predict(scoring(0.0), CARD, Image.new("L", (8, 8)))
    assert str(error.value) == (
        "an image in RGB was wanted, and one in L came; read it with onebyone.open_photo, or call "
        ".convert('RGB')"
    )


def test_top_is_at_least_one():
    with pytest.raises(ShapeError, match=r"^`top` \(=0\) must be at least 1$"):
        predict(scoring(0.0), CARD, PHOTO, top=0)
