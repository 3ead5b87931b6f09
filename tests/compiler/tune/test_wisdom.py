"""What tuning has found, as a file that goes from one machine to its like."""

import json

import pytest

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.tiling import TileSize
from onebyone.compiler.machine.calibrate import machine_facts
from onebyone.compiler.target import TARGETS
from onebyone.compiler.tune import wisdom as module
from onebyone.compiler.tune.wisdom import Finding, Wisdom
from onebyone.errors import CompileError

TARGET = TARGETS["baseline"]
FINDING = Finding(
    pixels=4,
    vectors=2,
    inner="pixels",
    shared="channels",
    parts=(3, 2),
    kernel_parts=1,
    ways=4,
    seconds=1e-5,
    untuned_seconds=2e-5,
    expected_seconds=3e-5,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_kept_and_adds_up():
    Wisdom(TARGET).add({"one": FINDING})
    other = Wisdom(TARGET)
    assert other.findings == {"one": FINDING}
    Wisdom(TARGET).add({"two": FINDING})
    other.add({"three": FINDING})
    assert set(Wisdom(TARGET).findings) == {"one", "two", "three"}


def test_each_target_has_its_own():
    Wisdom(TARGET).add({"one": FINDING})
    assert Wisdom(TARGETS["avx2"]).findings == {}


def test_a_damaged_file_is_no_wisdom(folder):
    Wisdom(TARGET).add({"one": FINDING})
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes().replace(b"pixels", b"pencil"))
    assert Wisdom(TARGET).findings == {}


def test_out_and_in_again(tmp_path, monkeypatch):
    wisdom = Wisdom(TARGET)
    wisdom.add({"one": FINDING})
    wisdom.export(tmp_path / "wisdom.json")
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "another"))
    other = Wisdom(TARGET)
    assert other.findings == {}
    assert other.take_in(tmp_path / "wisdom.json") == 1
    assert Wisdom(TARGET).findings == {"one": FINDING}


def test_of_another_machine_it_is_refused(tmp_path, monkeypatch):
    wisdom = Wisdom(TARGET)
    wisdom.export(tmp_path / "wisdom.json")
    facts = machine_facts(TARGET)
    monkeypatch.setattr(module, "machine_facts", lambda target: facts | {"cores": 999})
    with pytest.raises(CompileError, match=r"was found on another machine .* tune on this one"):
        Wisdom(TARGET).take_in(tmp_path / "wisdom.json")


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": 0},
        {"pixels": 99},
        {"shared": "all"},
        {"seconds": "long"},
        {"seconds": 0.0},
        {"parts": [1 << 20, 2]},
        {"pixels": 1.5},
        {"inner": "rows"},
        {"parts": [1]},
        {"parts": [1, 0]},
        {"parts": None},
        {"unknown": 1},
    ],
)
def test_what_is_no_finding_is_refused(tmp_path, change):
    wisdom = Wisdom(TARGET)
    wisdom.add({"one": FINDING})
    path = tmp_path / "wisdom.json"
    wisdom.export(path)
    content = json.loads(path.read_text())
    content["layers"]["one"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(CompileError, match="is no file that"):
        wisdom.take_in(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', "null", '{"format": 1, "machine": 3}']
)
def test_what_is_no_wisdom_is_refused(tmp_path, text):
    path = tmp_path / "wisdom.json"
    path.write_text(text)
    with pytest.raises(CompileError, match="is no file that `onebyone tune --export` has written"):
        Wisdom(TARGET).take_in(path)


def test_a_place_that_cannot_be_written_to(tmp_path):
    with pytest.raises(CompileError, match=r"cannot write .*none/w.json \(No such file"):
        Wisdom(TARGET).export(tmp_path / "none" / "w.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CompileError, match="none.json: cannot be read"):
        Wisdom(TARGET).take_in(tmp_path / "none.json")


def test_a_finding_changes_how_and_not_what():
    choices = Choices(tile=TileSize(6, 4), parts=(1, 1), seconds=1.0, why="so", together=3)
    found = FINDING.applied_to(choices)
    assert (found.tile, found.inner, found.parts) == (TileSize(4, 2), "pixels", (3, 2))
    assert found.shared == "channels"
    assert (found.together, found.why, found.winograd) == (3, "so", None)
    assert (
        Finding.of(found, ways=4, seconds=1e-5, untuned_seconds=2e-5, expected_seconds=3e-5)
        == FINDING
    )
