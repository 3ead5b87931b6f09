"""What may be asked of the compiler, and what is said of all else."""

import dataclasses

import pytest

from onebyone.compiler import CompileOptions, usable_cores
from onebyone.compiler.options import NUMERICS
from onebyone.errors import ShapeError, UnknownNameError

REFUSED = {
    "half a thread": (
        {"threads": 2.5},
        ShapeError,
        r"`threads` \(=2\.5\) must be 1 to 1024, a whole",
    ),
    "a bool": ({"threads": True}, ShapeError, r"`threads` \(=True\) must be 1 to 1024"),
    "a string": ({"threads": "2"}, ShapeError, r"`threads` \(='2'\) must be 1 to 1024"),
    "none at all": ({"threads": 0}, ShapeError, r"`threads` \(=0\) must be 1 to 1024"),
    "negative": ({"threads": -1}, ShapeError, r"`threads` \(=-1\) must be 1 to 1024"),
    "too many": ({"threads": 10**6}, ShapeError, r"`threads` \(=1000000\) must be 1 to 1024"),
    "numerics": (
        {"numerics": "fp16"},
        UnknownNameError,
        "'fp16'.* must be 'fp32' or 'fp32-direct'",
    ),
    "no numerics": ({"numerics": None}, UnknownNameError, r"`numerics` \(=None\) must be 'fp32'"),
    "strict": ({"strict": "yes"}, ShapeError, r"`strict` \(='yes'\) must be True or False"),
}


@pytest.mark.parametrize(("given", "kind", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("make", [CompileOptions, CompileOptions.named], ids=["made", "named"])
def test_other_values_are_refused_in_one_line(make, given, kind, message):
    with pytest.raises(kind, match=message) as caught:
        make(**given) if make is CompileOptions else make(given)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused():
    with pytest.raises(
        UnknownNameError,
        match=r"^no option 'numeric'; did you mean 'numerics'\? there are threads, numerics",
    ):
        CompileOptions.named({"threads": 1, "numeric": "fp32"})
    with pytest.raises(UnknownNameError, match="^no option 3; there are threads"):
        CompileOptions.named({3: 1})


def test_named_options_are_the_same():
    given = {"threads": 3, "numerics": "fp32-direct", "tune": "measure", "strict": True}
    assert CompileOptions.named(given) == CompileOptions(**given)
    assert set(CompileOptions.names()) == set(given)
    assert CompileOptions.named({}) == CompileOptions()


def test_threads_are_all_cores_by_default():
    assert CompileOptions().thread_count == usable_cores()
    assert CompileOptions(threads=3).thread_count == 3


def test_winograd_is_a_matter_of_numerics():
    allowed = {name: CompileOptions(numerics=name).allows_winograd for name in NUMERICS}
    assert allowed == {name: name == "fp32" for name in NUMERICS}


def test_they_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CompileOptions().threads = 2
