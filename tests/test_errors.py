import pytest

from onebyone.errors import OneByOneError, ShapeError, located
from onebyone.nn import PointwiseConv2d


def test_the_place_comes_first():
    message = r"^layer2\.0\.conv1: `in_channels` \(=30\) must be divisible by `groups` \(=4\)$"
    with pytest.raises(ShapeError, match=message), located("layer2.0.conv1"):
        PointwiseConv2d(30, 16, groups=4)


def test_places_nest():
    expected = pytest.raises(OneByOneError, match="^outer: inner: reason$")
    with expected, located("outer"), located("inner"):
        raise OneByOneError("reason")


def test_other_errors_pass_as_they_are():
    with pytest.raises(KeyError, match="^'reason'$"), located("place"):
        raise KeyError("reason")
