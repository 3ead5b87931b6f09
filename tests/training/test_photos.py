"""Photos that are decoded while a network learns: who sees what when, and what cannot be read."""

import gc
import logging
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onebyone.errors import DataError, ShapeError
from onebyone.models import Preprocess, open_photo
from onebyone.models.photo import turn_and_flatten
from onebyone.training.augment import boxes_in
from onebyone.training.data import Reading, decode, read_data
from onebyone.training.data.damage import Damage, allowed_of
from onebyone.training.data.decode import Decoder, Request
from onebyone.training.data.order import training_steps
from onebyone.training.data.photos import make_photo_data
from onebyone.training.data.workers import count_workers
from onebyone.training.loop import train_network
from onebyone.training.recipe import Augment
from tests.training.photos import encoded, picture, write_class, write_folder
from tests.training.small import SmallNet, recipe

SIZED = Preprocess(16, 18)
AUGMENT = Augment(flip=True, crop_scale=(0.2, 1.0), pad=1, mixup=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), train=13, val=7)


def read(folder, *, workers=0, preprocess=SIZED):
    return read_data(f"imagefolder:{folder}", Reading(preprocess, workers))


def check_same(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
        assert one.weight == other.weight


class Numbered:
    """Examples of which each shows its own number."""

    def __init__(self, folder, count, *, damaged=()):
        self.targets = np.arange(count)
        self.folder, self.damaged = folder, damaged

    def __len__(self):
        return len(self.targets)

    def name(self, number):
        return f"{number}.png"

    def open(self, number):
        path = self.folder / self.name(number)
        if not path.exists():
            content = b"no photo" if number in self.damaged else encoded(picture(number), "PNG")
            path.write_bytes(content)
        return path, None


@pytest.fixture(scope="module")
def numbered(folder, tmp_path_factory):
    """Data of forty photos, each of a class of its own."""
    examples = Numbered(tmp_path_factory.mktemp("numbered"), 40)
    names = tuple(map(str, range(40)))
    return make_photo_data("numbered", examples, examples, names, Reading(Preprocess(4, 4), 0))


@given(batch_size=st.integers(1, 40), world=st.integers(1, 3), epoch=st.none() | st.integers(0, 2))
def test_an_epoch_has_each_photo_once_over_all_processes(numbered, batch_size, world, epoch):
    if epoch is not None and world * numbered.train.steps(batch_size, world=world) > 40:
        return
    shown = [
        target
        for rank in range(world)
        for batch in numbered.train.batches(batch_size, epoch=epoch, rank=rank, world=world)
        for target in batch.targets.tolist()
    ]
    assert sorted(shown) == list(range(40))


@pytest.mark.parametrize("epoch", [1, None])
def test_workers_give_the_bits_that_one_process_gives(folder, epoch):
    ours = read(folder).train.batches(20, epoch=epoch, seed=2, augment=AUGMENT)
    theirs = read(folder, workers=2).train.batches(20, epoch=epoch, seed=2, augment=AUGMENT)
    check_same(ours, theirs)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_at_any_step(folder, workers):
    split = read(folder, workers=workers).train
    options = {"epoch": 3, "seed": 1, "augment": AUGMENT}
    whole = list(split.batches(8, **options))
    for first_step in (0, 2, 4, 5):
        check_same(whole[first_step:], split.batches(8, first_step=first_step, **options))
    assert not torch.equal(whole[0].images, next(split.batches(8, **options | {"seed": 2})).images)


def test_photos_before_the_first_step_are_not_read(folder, monkeypatch):
    split = read(folder).train
    asked = []
    answer = Decoder.__getitem__
    monkeypatch.setattr(
        Decoder, "__getitem__", lambda self, r: (asked.extend(r.numbers), answer(self, r))[1]
    )
    list(split.batches(8, epoch=0, first_step=3))
    wanted = torch.cat(training_steps(39, 8, epoch=0, seed=0)[3:]).tolist()
    assert asked == wanted


def test_processes_share_what_one_would_see(folder):
    split = read(folder).train
    options = {"epoch": 0, "seed": 5, "augment": Augment(flip=True, crop_scale=(0.2, 1.0), pad=1)}
    alone = list(split.batches(8, **options))
    ranks = [list(split.batches(4, rank=rank, world=2, **options)) for rank in range(2)]
    for one, *parts in zip(alone, *ranks, strict=True):
        assert torch.equal(one.images, torch.cat([part.images for part in parts]))
        assert torch.equal(one.targets, torch.cat([part.targets for part in parts]))
        assert sum(part.weight for part in parts) == 2


@pytest.mark.parametrize("preprocess", [SIZED, Preprocess(16, 18, mean=(0.4,), std=(0.2,))])
def test_evaluation_sees_what_predict_sees(folder, preprocess):
    data = read(folder, preprocess=preprocess)
    (batch,) = data.test.batches(100, epoch=None)
    paths = [data.test.examples.name(number) for number in range(len(data.test))]
    torch.testing.assert_close(
        batch.images, torch.stack([*map(preprocess, map(open_photo, paths))])
    )
    assert [data.classes[target] for target in batch.targets] == [
        path.split("/")[-2] for path in paths
    ]


def test_a_resumed_run_equals_an_uninterrupted_one(folder, tmp_path):
    class EnoughError(Exception):
        pass

    def stop(progress):
        if progress.step == 7:
            raise EnoughError

    data = read(folder)
    whole = recipe(epochs=2, batch_size=8, augment=AUGMENT)
    network = SmallNet(3, classes=3)
    expected = train_network(network, data, whole, seed=4)
    options = {"seed": 4, "save_seconds": 0.0, "resume": True}
    with pytest.raises(EnoughError):
        train_network(network, data, whole, tmp_path, watch=stop, **options)
    resumed = train_network(network, data, whole, tmp_path, **options)
    assert [row.loss for row in resumed.steps] == [row.loss for row in expected.steps]
    for ours, theirs in zip(
        resumed.network.parameters(), expected.network.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_folder_that_has_changed_is_not_gone_on_with(tmp_path):
    root = write_folder(tmp_path / "photos")
    whole = recipe(epochs=1, batch_size=8)
    train_network(SmallNet(3, classes=3), read(root), whole, tmp_path / "run")
    write_class(root / "train", "cat", [90])
    with pytest.raises(Exception, match="a run with images 21, and 22 was asked for"):
        train_network(SmallNet(3, classes=3), read(root), whole, tmp_path / "run", resume=True)


# What cannot be read.


def damage(folder, count):
    """Cut photos of the class "dog" short; return their names."""
    paths = sorted((folder / "train" / "dog").iterdir())[:count]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-300])
    return [str(path) for path in paths]


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_photos_are_named_once_and_replaced(tmp_path, caplog, workers):
    root = write_folder(tmp_path, train=13)
    names = damage(root, 7)
    split = read(root, workers=workers).train
    with caplog.at_level(logging.INFO, "onebyone"):
        epochs = [list(split.batches(8, epoch=epoch, augment=AUGMENT)) for epoch in (0, 1)]
    assert sorted(split.damaged) == names
    assert all("is damaged or cut short" in reason for reason in split.damaged.values())
    named = [line for line in caplog.messages if line.startswith("left out: ")]
    assert len(named) == len(set(named)) == 5
    assert caplog.messages[5:] == [
        f"imagefolder:{root}: 7 of 39 photos cannot be read and are left out"
    ]
    # Each has the next one's picture and class in its place, and a batch as many as ever.
    assert {sum(len(batch.images) for batch in batches) for batches in epochs} == {39}
    check_same(epochs[0][2:], read(root).train.batches(8, epoch=0, first_step=2, augment=AUGMENT))
    parts = [list(read(root).train.batches(4, epoch=0, rank=r, world=2)) for r in range(2)]
    alone = read(root).train.batches(8, epoch=0)
    for one, *shared in zip(alone, *parts, strict=True):
        assert torch.equal(one.images, torch.cat([batch.images for batch in shared]))


def test_the_next_photo_that_can_be_read_takes_its_place(tmp_path):
    examples = Numbered(tmp_path, 12, damaged=(4, 5, 11))
    decoder = Decoder(examples, Preprocess(4, 4), Augment())
    tries = torch.empty(4, 4, 0, dtype=torch.float64)
    answer = decoder[Request([3, 4, 5, 11], tries)]
    assert answer.targets == [3, 6, 6, 0]
    assert sorted(answer.damaged) == ["11.png", "4.png", "5.png"]
    assert torch.equal(answer.images, decoder[Request([3, 6, 6, 0])].images)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_counts_what_can_be_read(tmp_path, workers):
    root = write_folder(tmp_path, val=13)
    for number in range(2):
        (root / "val" / "cat" / f"{50 + number:03}.jpg").write_bytes(b"")
    data = read(root, workers=workers)
    batches = list(data.test.batches(2, epoch=None))
    assert sum(len(batch.images) for batch in batches) == len(data.test) - 2
    assert len(data.test.damaged) == 2
    assert all(len(batch.images) for batch in batches)  # none without images


@pytest.mark.parametrize("epoch", [0, None])
@pytest.mark.parametrize("count", [11, 13])
def test_too_many_damaged_photos_are_one_line(tmp_path, epoch, count):
    root = write_folder(tmp_path, train=13)
    damage(root, count)
    with pytest.raises(
        DataError, match=r"11 of 39 photos cannot be read, and at most 10 may .*dog"
    ):
        list(read(root).train.batches(1, epoch=epoch, augment=AUGMENT))


def test_a_few_photos_none_of_which_can_be_read(tmp_path):
    examples = Numbered(tmp_path, 3, damaged=(0, 1, 2))
    decoder = Decoder(examples, Preprocess(4, 4), Augment())
    answer = decoder[Request([1], torch.empty(1, 4, 0))]
    assert len(answer.images) == 0
    with pytest.raises(DataError, match="3 of 3 photos cannot be read, and at most 2 may"):
        Damage("these", 3).note(answer.damaged)


@given(count=st.integers(1, 5000))
def test_a_hundredth_or_ten_may_be_left_out(count):
    allowed = allowed_of(count)
    assert allowed >= 10
    assert allowed == 10 or allowed <= count / 100
    found = Damage("these", count)
    tolerated = min(allowed, count - 1)
    found.note({str(number): "gone" for number in range(tolerated)})
    with pytest.raises(DataError, match=f"^these: {tolerated + 1} of {count} photos"):
        found.note({"another": "gone"})


# How a photo is read.


def decoded(path, *, augment=None, tries=None, preprocess=SIZED):
    class One(Numbered):
        def open(self, number):
            return path, None

    decoder = Decoder(One(path.parent, 1), preprocess, augment or Augment())
    answer = decoder[Request([0], tries)]
    assert not answer.damaged, answer.damaged
    return answer.images[0].numpy()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_other_colours_become_rgb(tmp_path, mode):
    kind = "jpg" if mode == "CMYK" else "png"
    colour = Image.new("RGB", (20, 30), "white").convert(mode)
    colour.save(tmp_path / f"photo.{kind}")
    assert (decoded(tmp_path / f"photo.{kind}") >= 250).all()


def test_what_could_only_be_read_wrongly_is_damaged(tmp_path):
    Image.new("I;16", (20, 30), 1000).save(tmp_path / "0.png")
    examples = Numbered(tmp_path, 1)
    answer = Decoder(examples, SIZED, Augment())[Request([0])]
    assert "more than 8 bits a channel" in answer.damaged["0.png"]


def shown(orientation):
    """EXIF that says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_the_right_way_up(tmp_path, orientation):
    upright = picture(3, size=(40, 24))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    stored.save(tmp_path / "turned.png", exif=shown(orientation))
    upright.save(tmp_path / "upright.png")
    tries = torch.rand(1, 4, 10, dtype=torch.float64)
    for options in ({}, {"augment": Augment(crop_scale=(0.1, 0.9)), "tries": tries}):
        ours = decoded(tmp_path / "turned.png", **options)
        assert np.array_equal(ours, decoded(tmp_path / "upright.png", **options))


@given(scale=st.floats(0.05, 1), seed=st.integers(0, 99), width=st.integers(16, 300))
def test_a_crop_is_the_box_of_the_photo_scaled(tmp_path_factory, scale, seed, width):
    path = tmp_path_factory.mktemp("crop") / "photo.png"
    photo = picture(seed, size=(width, 120))
    photo.save(path)
    augment = Augment(crop_scale=(scale, 1.0))
    tries = torch.rand(1, 4, 10, generator=torch.Generator().manual_seed(seed)).double()
    top, left, height, wide = boxes_in(augment, tries, 120, width)[0].tolist()
    part = photo.crop((left, top, left + wide, top + height))
    wanted = np.asarray(part.resize((16, 16), Image.Resampling.BICUBIC), dtype=int)
    got = decoded(path, augment=augment, tries=tries).astype(int)
    assert np.abs(got - wanted).max() <= 2


def test_large_jpegs_are_unpacked_smaller_where_it_shows_nothing(tmp_path, monkeypatch):
    photo = picture(1, size=(1200, 1000))
    photo.save(tmp_path / "large.jpg", quality=95)
    photo.save(tmp_path / "large.png")
    drafted = []
    monkeypatch.setattr(
        decode,
        "turn_and_flatten",
        lambda image: (drafted.append(image.size), turn_and_flatten(image))[1],
    )
    tries = torch.rand(1, 4, 10, dtype=torch.float64)
    options = {"augment": Augment(crop_scale=(0.9, 1.0)), "tries": tries}
    smaller = decoded(tmp_path / "large.jpg", **options).astype(int)
    whole = decoded(tmp_path / "large.png", **options).astype(int)
    assert np.abs(smaller - whole).max() <= 12
    decoded(tmp_path / "large.jpg")
    # An eighth still has four times the pixels; evaluation takes all there are.
    assert drafted == [(150, 125), (1200, 1000), (1200, 1000)]


# Processes.


def test_a_worker_that_is_killed_is_one_line(folder):
    before = signal.getsignal(signal.SIGCHLD)
    batches = read(folder, workers=1).train.batches(2, epoch=0)
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    assert signal.getsignal(signal.SIGCHLD) == before  # no error anywhere else
    with pytest.raises(DataError, match=r"a process that decodes photos has ended .*--workers 0"):
        list(batches)


def test_ctrl_c_is_not_for_the_workers_and_none_is_left(folder):
    batches = read(folder, workers=2).train.batches(2, epoch=0)
    next(batches)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    assert len(list(batches)) == 19
    batches = read(folder, workers=2).train.batches(2, epoch=0)
    next(batches)
    assert multiprocessing.active_children()
    batches.close()  # what a run that ends early does
    gc.collect()
    assert not multiprocessing.active_children()


def test_workers_leave_everybodys_random_numbers_alone(folder):
    before = torch.get_rng_state()
    list(read(folder, workers=1).train.batches(20, epoch=0, augment=AUGMENT))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_core_each_shared_by_the_processes(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(12))
    assert [count_workers(None, world=world) for world in (1, 2, 4, 24)] == [8, 6, 3, 1]
    assert count_workers(0, world=1) == 0
    with pytest.raises(ShapeError, match=r"`workers` \(=-1\) must be 0 or more"):
        count_workers(-1, world=1)
