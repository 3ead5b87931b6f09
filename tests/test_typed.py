"""Reading JSON as types: what pydantic, in its strict mode, says of the same values."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from onebyone.models import ZOO, ModelCard, Preprocess
from onebyone.nn.edits import Factorise, Narrow
from onebyone.typed import MisfitError, read_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    size: int
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: str
    kind: Literal["small", "large"]
    parts: tuple[Part, ...]
    pair: tuple[int, float] | None = None
    notes: Mapping[str, str | int] = field(default_factory=dict)
    is_new: bool = False
    anything: Any = None


def agrees_with_pydantic(kind: Any, value: object) -> bool:
    """Whether we and pydantic take the same values, and make the same of them."""
    try:
        expected = TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        with pytest.raises(MisfitError):
            read_as(kind, value)
        return False
    assert read_as(kind, value) == expected
    return True


plain = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 2.0, "small", ""])
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["size", "share", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
WHOLE = {
    "name": "a",
    "kind": "small",
    "parts": [{"size": 3, "share": 2}, {"size": 4}],
    "pair": [1, 2],
    "notes": {"threads": 2, "machine": "this one"},
    "is_new": True,
    "anything": [1, {"a": None}],
}


def test_what_was_written_is_read():
    assert agrees_with_pydantic(Whole, WHOLE)
    assert read_as(Whole, WHOLE).parts == (Part(size=3, share=2.0), Part(size=4))


@given(st.sampled_from([*WHOLE, "size", "share"]), values)
def test_a_damaged_value_is_judged_as_pydantic_does(name, value):
    inner = WHOLE["parts"][0] | {name: value}
    damaged = WHOLE | {name: value} if name in WHOLE else WHOLE | {"parts": [inner]}
    agrees_with_pydantic(Whole, damaged)


@pytest.mark.parametrize("name", WHOLE)
def test_a_missing_value_is_judged_as_pydantic_does(name):
    left = {other: value for other, value in WHOLE.items() if other != name}
    assert agrees_with_pydantic(Whole, left) == (name not in {"name", "kind", "parts"})


@given(values)
def test_any_value_is_judged_as_pydantic_does(value):
    for kind in (Whole, Part, int, float, str, bool, None, tuple[float, ...], tuple[int, int]):
        agrees_with_pydantic(kind, value)


@pytest.mark.parametrize("name", ZOO)
def test_the_zoos_configurations_come_back(name):
    config = ZOO[name].config
    assert read_as(type(config), json.loads(json.dumps(asdict(config)))) == config


def test_a_card_comes_back():
    card = ModelCard(
        model="x",
        preprocess=Preprocess(mean=(0.5,), std=(0.25,)),
        classes=("a", "b"),
        license="mit",
    )
    assert read_as(ModelCard, json.loads(json.dumps(asdict(card)))) == card


@pytest.mark.parametrize(
    "edit",
    [
        Factorise(conv="a", form="expand", ranks=(3,)),
        Narrow(conv="a", in_channels=1, out_channels=2),
    ],
)
def test_a_union_is_the_kind_that_fits(edit):
    assert read_as(Factorise | Narrow | None, json.loads(json.dumps(asdict(edit)))) == edit


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"name": 7}, "name: text was wanted, and 7 came"),
        ({"parts": [{}]}, "parts.0.size: it is missing"),
        ({"parts": [{"size": True}]}, "parts.0.size: a whole number was wanted, and True came"),
        ({"parts": [{"size": 1, "share": 10**400}]}, "parts.0.share: the number is too large"),
        ({"kind": "odd"}, "kind: 'small' or 'large' was wanted, and 'odd' came"),
        ({"pair": [1]}, "pair: a list of 2 was wanted, and [1] came"),
        ({"notes": {"a": 1.5}}, "notes.a: text was wanted, and 1.5 came"),
        ({"notes": []}, "notes: an object was wanted, and [] came"),
    ],
)
def test_a_misfit_says_where_and_what(changes, line):
    with pytest.raises(MisfitError) as error:
        read_as(Whole, WHOLE | changes)
    assert str(error.value) == line


def test_what_a_dataclass_refuses_is_a_misfit_with_its_place():
    values = {"model": "x", "preprocess": {"input_size": 0}}
    with pytest.raises(MisfitError, match=r"^preprocess: `input_size` \(=0\) must be in 1..256"):
        read_as(ModelCard, values)
