"""Shards: what is found in them, against the package webdataset; and what is wrong with them."""

import io
import logging
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onebyone import store
from onebyone.errors import DataError
from onebyone.models import Preprocess
from onebyone.training.data import Reading, read_data, shard_index
from onebyone.training.data.shard_index import index_shard
from tests.training.photos import encoded, picture, sample, write_shard

SIZED = Preprocess(16, 18)


def read(place, *, workers=0, preprocess=SIZED):
    return read_data(f"webdataset:{place}", Reading(preprocess, workers))


def write_shards(root, *, label_in="cls", count=6):
    """Write two shards to train on and one to test with, of three classes."""
    for shard, name in enumerate(("train-0", "train-1", "test-0")):
        numbers = range(100 * shard, 100 * shard + count)
        files = [file for n in numbers for file in sample(n, n % 3, label_in=label_in)]
        write_shard(root / f"{name}.tar", files)
    return f"{root}/train-{{0..1}}.tar::{root}/test-0.tar"


@pytest.mark.parametrize("label_in", ["cls", "json"])
def test_shards_hold_what_webdataset_finds_in_them(tmp_path, label_in):
    from webdataset.autodecode import Decoder, imagehandler
    from webdataset.tariterators import group_by_keys, tar_file_expander

    data = read(write_shards(tmp_path, label_in=label_in))
    assert (len(data.train), len(data.test), data.classes) == (12, 6, ("0", "1", "2"))
    decode = Decoder([imagehandler("pil")])
    with ExitStack() as stack:  # the package itself leaves files open
        streams = [
            {"url": path.name, "stream": stack.enter_context(path.open("rb"))}
            for path in (tmp_path / "train-0.tar", tmp_path / "train-1.tar")
        ]
        theirs = [decode(one) for one in group_by_keys(tar_file_expander(streams))]
    (batch,) = data.train.batches(20, epoch=None)
    for image, target, one in zip(batch.images, batch.targets.tolist(), theirs, strict=True):
        torch.testing.assert_close(image, SIZED(one["jpg"]))
        assert target == (one["cls"] if label_in == "cls" else one["json"]["label"])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_at_any_step(tmp_path, workers):
    split = read(write_shards(tmp_path), workers=workers).train
    whole = list(split.batches(5, epoch=1))
    (last,) = split.batches(5, epoch=1, first_step=2)
    assert torch.equal(whole[2].images, last.images)
    assert sum(len(batch.targets) for batch in whole) == 12


def test_a_fifth_tests_where_no_shards_do(tmp_path, caplog):
    files = [file for n in range(60) for file in sample(n, n % 2)]
    with caplog.at_level(logging.INFO, "onebyone"):
        data = read(write_shard(tmp_path / "all.tar", files))
    assert len(data.train) + len(data.test) == 60
    assert len(data.test) == pytest.approx(12, abs=9)
    assert caplog.messages[-1].startswith(f"no shards to test with: {len(data.test)} of 60 photos")


def test_classes_may_have_names(tmp_path):
    place = write_shards(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\nhot dog\nowl\n")
    assert read(place).classes == ("cat", "hot dog", "owl")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt names 2 classes, and the shards have 3"):
        read(place)


def test_a_shard_is_indexed_once_until_it_changes(tmp_path, monkeypatch):
    path = write_shard(tmp_path / "a.tar", sample(1, 0) + sample(2, 1))
    made = []
    make = shard_index._make_index
    monkeypatch.setattr(shard_index, "_make_index", lambda p: (made.append(p), make(p))[1])
    first, second = index_shard(path), index_shard(path)
    assert made == [path]
    for name in ("keys", "starts", "sizes", "targets"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    write_shard(path, sample(3, 1) + sample(4, 0))
    os.utime(path, (1, 1))
    assert index_shard(path).targets.tolist() == [1, 0]
    assert made == [path, path]


def test_a_damaged_index_is_made_again(tmp_path):
    path = write_shard(tmp_path / "a.tar", sample(1, 0) + sample(2, 1))
    before = index_shard(path)
    kept = store.folder_path() / shard_index._key_of(path)
    content = bytearray(kept.read_bytes())
    content[-40] ^= 1
    kept.write_bytes(content)
    assert np.array_equal(index_shard(path).starts, before.starts)
    assert kept.read_bytes() != bytes(content)


def test_without_a_folder_to_keep_it_in_an_index_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", "/dev/null/none")
    path = write_shard(tmp_path / "a.tar", sample(1, 0) + sample(2, 1))
    assert index_shard(path).targets.tolist() == [0, 1]


def test_what_is_beside_the_photo_is_left_alone(tmp_path):
    files = [
        ("__meta__/all.json", b"{}"),
        ("a.b/1.mask.png", encoded(picture(5), "PNG")),
        ("a.b/1.JPG", encoded(picture(1))),
        ("a.b/1.txt", b"a caption"),
        ("a.b/1.cls", b"1\n"),
        ("README", b"no extension"),
    ]
    index = index_shard(write_shard(tmp_path / "a.tar", files))
    assert index.keys.tolist() == [b"a.b/1"]
    assert index.targets.tolist() == [1]
    content = (tmp_path / "a.tar").read_bytes()[index.starts[0] :][: index.sizes[0]]
    assert content == files[2][1]


def test_damaged_photos_of_shards_are_left_out(tmp_path):
    files = [file for n in range(40) for file in sample(n, n % 2)]
    files[6] = ("003.jpg", files[6][1][:200])
    write_shard(tmp_path / "a.tar", files)
    data = read(f"{tmp_path}/a.tar::{write_shard(tmp_path / 'b.tar', files)}")
    assert sum(len(batch.images) for batch in data.test.batches(8, epoch=None)) == 39
    assert list(data.test.damaged) == [f"{tmp_path}/b.tar: 003"]
    assert "b.tar: 003 is damaged or cut short" in data.test.damaged[f"{tmp_path}/b.tar: 003"]
    (tmp_path / "a.tar").unlink()
    with pytest.raises(DataError, match=r"40 of 40 .*a.tar: 0.. cannot be read \(No such file"):
        list(data.train.batches(8, epoch=0))


GOOD = sample(1, 0) + sample(2, 1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no photos; a shard with KEY.jpg and KEY.cls was wanted"),
        (GOOD[:3], r"a.tar: 002 was to have its class's number in a .cls or a .json, .*only .jpg"),
        ([GOOD[1]], r"a.tar: 001 was to have one photo, such as a .jpg, and has only .cls"),
        ([*GOOD, ("002.png", b"x")], r"002 was to have one photo, .* has several \(jpg, png\)"),
        ([*GOOD, GOOD[-1]], "a.tar is no shard .*duplicate file name"),
        ([GOOD[0], ("001.cls", b"cat")], r"001.cls was to have the class's number.* has 'cat'"),
        ([GOOD[0], ("001.cls", b"-1")], "0 or more, and has -1"),
        ([GOOD[0], ("001.cls", b"99999999999")], "0 or more, and has 99999999999"),
        ([GOOD[0], ("001.json", b'{"class": 1}')], "as 'cls' or 'label' and has None"),
        ([GOOD[0], ("001.json", b"{")], "has '{'"),
        ([GOOD[0], ("001.json", b"true")], "has True"),
        (sample(1, 0) + sample(2, 0), "have one class only; two or more were wanted"),
        (sample(1, 0) + sample(2, 2), "classes up to 2, and no photo of class 1"),
        (sample(1, 1) + sample(2, 2), "classes up to 2, and no photo of class 0"),
    ],
)
def test_shards_that_are_not_what_they_should_be(tmp_path, files, message):
    path = write_shard(tmp_path / "a.tar", files)
    test = write_shard(tmp_path / "test.tar", GOOD)
    with pytest.raises(DataError, match=message):
        read(f"{path}::{test}")


def test_a_class_that_nothing_is_learnt_of(tmp_path):
    write_shard(tmp_path / "a.tar", GOOD)
    write_shard(tmp_path / "b.tar", [*GOOD, *sample(3, 7)])
    with pytest.raises(DataError, match=r"b.tar: 003 is of class 7, .* of classes 0 to 1"):
        read(f"{tmp_path}/a.tar::{tmp_path}/b.tar")


def test_a_shard_that_is_cut_short_or_packed(tmp_path):
    import gzip

    path = write_shard(tmp_path / "a.tar", GOOD)
    content = path.read_bytes()
    for broken in (content[:700], gzip.compress(content), b"no tar file" * 99):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="a.tar is no tar file, packed, or cut short"):
            read(path)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere-{0..3}.tar", r"nowhere-0.tar: a shard \(.tar\) was wanted, and there is no such"),
        ("a{0..1.tar", "a{0..1.tar: .*; write shard-{000..009}.tar"),
        ("a.tar::b.tar::c.tar", "webdataset:TRAIN or webdataset:TRAIN::TEST was wanted"),
        ("a.tar::", "webdataset:TRAIN or webdataset:TRAIN::TEST was wanted"),
        ("a.tar::{b,a}.tar", "a.tar is to train on and to test with"),
        ("https://host/a.tar", "https://host/a.tar: shards must be files on this machine"),
        ("pipe:cat a.tar", "pipe:cat a.tar: shards must be files on this machine"),
    ],
)
def test_places_without_shards(place, message):
    with pytest.raises(DataError, match=message):
        read(place)


def test_too_few_photos_to_divide(tmp_path):
    with pytest.raises(DataError, match="too few photos for a fifth of them to test"):
        read(write_shard(tmp_path / "a.tar", GOOD))


def test_photos_are_those_that_were_put_in(tmp_path):
    data = read(write_shards(tmp_path))
    path, content = data.train.examples.open(7)
    assert path == Path(f"{tmp_path}/train-1.tar: 101")
    ours, theirs = Image.open(content), Image.open(io.BytesIO(encoded(picture(101))))
    assert ours.tobytes() == theirs.tobytes()
