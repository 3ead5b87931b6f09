"""Points of a curve, kept and drawn."""

from xml.etree import ElementTree

import pytest
from PIL import Image

from onebyone.errors import ShrinkError
from onebyone.shrinking.curve import Point, draw_curve, read_point, write_point

ORIGINAL = Point(budget="", macs=100, seconds=2e-3, original_seconds=2e-3, top1=1.0, divergence=0.0)
SMALL = Point(
    budget="macs=0.5", macs=50, seconds=1e-3, original_seconds=2e-3, top1=0.9, divergence=0.1
)


def test_a_point_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "point.json"
    assert read_point(file) is None
    write_point(file, SMALL)
    assert read_point(file) == SMALL
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"budget": "macs=0.5"}', '{"budget": '])
def test_what_is_no_point_is_told(tmp_path, text):
    file = tmp_path / "point.json"
    file.write_text(text)
    with pytest.raises(ShrinkError, match="is no point"):
        read_point(file)


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(ShrinkError, match="cannot write"):
        write_point(tmp_path / "none" / "point.json", SMALL)


def test_quality_is_accuracy_where_there_are_labels():
    assert SMALL.quality == 0.9
    known = Point(
        budget="", macs=1, seconds=1, original_seconds=1, top1=0.9, divergence=0, accuracy=0.8
    )
    assert known.quality == 0.8


def test_the_picture_names_every_network(tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    draw_curve(tmp_path, [ORIGINAL, SMALL], title="a network")
    words = set(ElementTree.parse(tmp_path / "curve.svg").getroot().itertext())
    assert {"a network", "original", "macs=0.5"} <= words
    with Image.open(tmp_path / "curve.png") as picture:
        assert min(picture.size) > 300
