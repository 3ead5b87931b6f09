"""Folders of photos: what is found in them, how they are divided, and what is wrong with them."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.errors import DataError
from onebyone.models import Preprocess
from onebyone.training.data import Reading, read_data
from onebyone.training.data.examples import are_to_test
from tests.training.photos import CLASSES, write_class, write_folder


def read(root):
    return read_data(f"imagefolder:{root}", Reading(Preprocess(8, 8), 0))


def names(split):
    """The paths of a split's photos, from the folder of classes on."""
    examples = split.examples
    return [
        "/".join(Path(examples.name(number)).parts[-2:]) for number in range(len(split.examples))
    ]


@pytest.mark.parametrize("part", ["val", "valid", "validation", "test"])
def test_a_divided_folder(tmp_path, part):
    root = write_folder(tmp_path)
    (root / "val").rename(root / part)
    data = read(root)
    assert data.classes == CLASSES
    assert (len(data.train), len(data.test), data.image_shape) == (21, 12, (3, 8, 8))
    assert names(data.train) == sorted(names(data.train))
    assert [CLASSES[target] for target in data.train.examples.targets] == [
        name.partition("/")[0] for name in names(data.train)
    ]


def test_what_is_no_photo_and_what_is_hidden_is_left_alone(tmp_path):
    root = write_folder(tmp_path)
    before = names(read(root).train)
    (root / "train" / "cat" / "notes.txt").write_text("fluffy")
    (root / "train" / "cat" / "._000.jpg").write_bytes(b"what another system left")
    (root / "train" / ".cache").mkdir()
    write_class(root / "train" / "cat", ".thumbnails", [3])
    write_class(root / "train" / "cat", "indoors", [4])
    found = read(root).train
    assert sorted(set(names(found)) - set(before)) == ["indoors/004.jpg"]
    assert len(found) == len(before) + 1


def test_a_relative_folder_is_the_same(tmp_path, monkeypatch):
    write_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    for place in (".", "../" + tmp_path.name):
        assert names(read(place).train) == names(read(tmp_path).train)
        assert len(list(read(place).test.batches(8, epoch=None))) == 2


@pytest.fixture
def undivided(tmp_path):
    for i, name in enumerate(CLASSES):
        write_class(tmp_path, name, range(100 * i, 100 * i + 30))
    return tmp_path


def test_an_undivided_folder_is_divided_and_says_so(undivided, caplog):
    with caplog.at_level(logging.INFO, "onebyone"):
        data = read(undivided)
    train, test = names(data.train), names(data.test)
    assert sorted(train + test) == sorted(
        f"{p.parent.name}/{p.name}" for p in undivided.glob("*/*")
    )
    assert 9 <= len(test) <= 27  # 18, within three deviations
    assert caplog.messages == [
        f"{undivided} has no train and val: {len(test)} of its 90 photos test, about one in 5, "
        "chosen by their names"
    ]


def test_more_photos_move_none_from_one_part_to_the_other(undivided, tmp_path_factory):
    before = read(undivided)
    write_class(undivided, "cat", range(500, 520))
    write_class(undivided, "ape", range(600, 620))
    after = read(undivided)
    assert set(names(before.train)) <= set(names(after.train))
    assert set(names(before.test)) <= set(names(after.test))
    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.copytree(undivided, moved)
    assert names(read(moved).test) == names(after.test)


@given(st.sets(st.binary(min_size=1, max_size=30)), st.binary(min_size=1, max_size=30))
def test_a_photos_part_is_its_own_affair(others, name):
    (alone,) = are_to_test([name])
    assert dict(zip(others, are_to_test(others), strict=True)).get(name, alone) == alone
    assert are_to_test([*others, name])[-1] == alone


def change_nothing(root):
    pass


def remove(path):
    return lambda root: shutil.rmtree(root / path)


def keep(path):
    def change(root):
        for one in (root / path).parent.iterdir():
            if one.name != Path(path).name:
                shutil.rmtree(one)

    return change


def empty(path):
    def change(root):
        for one in (root / path).iterdir():
            one.unlink()
        (root / path / "cat.txt").touch()

    return change


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (change_nothing, "nowhere", "nowhere: a folder with a folder of photos for each class was"),
        (change_nothing, "train/cat/000.jpg", "000.jpg: a folder .* and there is none"),
        (change_nothing, "train/cat", "train/cat has no folders in it; two or more were wanted"),
        (
            empty("train/dog"),
            "",
            "train/dog has no photos .*.jpg.*; add some, or remove the folder",
        ),
        (empty("val/owl"), "", "val/owl has no photos"),
        (keep("train/cat"), "", r"train has one class only \(cat\); two or more were wanted"),
        (remove("val/dog"), "", "classes that are in train and not in val: dog; the same ones"),
        (remove("train/owl"), "", "classes that are in val and not in train: owl; the same ones"),
        (
            remove("val"),
            "",
            "has a folder train, and none to measure with .* imagefolder:.*/train ",
        ),
        (
            lambda root: (root / "val" / "a\nb").mkdir(),
            "",
            r"val: 'a\\nb' cannot be a class's name",
        ),
    ],
)
def test_folders_that_are_not_what_they_should_be(tmp_path, change, place, message):
    change(write_folder(tmp_path))
    with pytest.raises(DataError, match=message):
        read(tmp_path / place)


def test_too_few_photos_to_divide(tmp_path):
    for name in CLASSES:
        write_class(tmp_path, name, [1])
    with pytest.raises(DataError, match=r"too few photos for a fifth .* divide them yourself"):
        read(tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    root = write_folder(tmp_path)
    look = os.scandir

    def scandir(path):  # root may read anything, and tests may run as root
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"train/dog cannot be read \(Permission denied\)"):
        read(root)


def test_a_class_may_be_called_train(tmp_path):
    for i, name in enumerate(("bus", "train")):
        write_class(tmp_path, name, range(100 * i, 100 * i + 20))
    assert read(tmp_path).classes == ("bus", "train")
