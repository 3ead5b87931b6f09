"""Data to train on: who sees what when, and files that are not what they should be."""

import gzip
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onebyone.errors import DataError, ShapeError, UnknownNameError
from onebyone.training.data import read_data
from onebyone.training.data.idx import FASHION_MNIST, read_idx
from onebyone.training.data.order import generator_of, training_steps
from onebyone.training.data.resident import Pixels, make_data
from onebyone.training.recipe import Augment


def numbered(count, test=7):
    """Images each of which shows its own number."""
    images = torch.arange(count + test, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    targets = torch.arange(count + test)
    return make_data(
        "numbered",
        Pixels(images[:count].contiguous(), targets[:count]),
        Pixels(images[count:].contiguous(), targets[count:]),
        tuple(map(str, range(count + test))),
    )


def seen(split, batch_size, *, world=1, **options):
    """The targets that each process sees, by process and step."""
    return [
        [
            batch.targets.tolist()
            for batch in split.batches(batch_size, rank=rank, world=world, **options)
        ]
        for rank in range(world)
    ]


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    world=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_an_epoch_has_each_example_once_over_all_processes(count, batch_size, world, epoch):
    split = numbered(count).train
    steps = split.steps(batch_size, world=world)
    if count < steps * world:
        with pytest.raises(DataError, match="cannot be shared by"):
            seen(split, batch_size, world=world, epoch=epoch)
        return
    found = seen(split, batch_size, world=world, epoch=epoch)
    assert {len(process) for process in found} == {steps}
    assert max(len(batch) for process in found for batch in process) <= batch_size
    assert sorted(t for process in found for batch in process for t in batch) == list(range(count))
    sizes = [sum(len(process[step]) for process in found) for step in range(steps)]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(1, 40), batch_size=st.integers(1, 9), world=st.integers(1, 3))
def test_evaluation_goes_through_all_in_order(count, batch_size, world):
    found = seen(numbered(count).train, batch_size, world=world, epoch=None)
    assert sorted(t for process in found for batch in process for t in batch) == list(range(count))
    (alone,) = seen(numbered(count).train, batch_size, epoch=None)
    assert [t for batch in alone for t in batch] == list(range(count))


@pytest.mark.parametrize(
    "augment", [None, Augment(flip=True, pad=1, crop_scale=(0.3, 1), mixup=0.4)]
)
def test_a_batch_depends_on_seed_epoch_and_step_alone(augment):
    split = numbered(40).train
    options = {"seed": 3, "augment": augment}
    whole = list(split.batches(8, epoch=2, **options))
    later = list(split.batches(8, epoch=2, first_step=3, **options))
    for one, other in zip(whole[3:], later, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
    others = [*split.batches(8, epoch=3, **options), *split.batches(8, epoch=2, seed=4)]
    assert not any(torch.equal(whole[0].images, other.images) for other in others)


def test_processes_share_what_one_would_see():
    split = numbered(40).train
    (alone,) = seen(split, 8, epoch=0)
    shared = seen(split, 4, world=2, epoch=0)
    assert alone == [one + other for one, other in zip(*shared, strict=True)]


def test_weights_make_the_mean_that_of_all_images():
    split = numbered(11).train
    ranks = [list(split.batches(3, epoch=0, rank=rank, world=2)) for rank in range(2)]
    for batches in zip(*ranks, strict=True):
        numbers = torch.cat([batch.targets for batch in batches]).float()
        mean = sum(batch.targets.float().mean() * batch.weight for batch in batches) / 2
        assert float(mean) == pytest.approx(float(numbers.mean()))


def test_images_are_normalised_by_the_training_images():
    data = read_data("digits")
    (batch,) = data.train.batches(2000, epoch=None)
    assert float(batch.images.mean()) == pytest.approx(0, abs=1e-5)
    assert float(batch.images.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    data, theirs = read_data("digits"), load_digits()
    found = torch.cat([split.pixels.images for split in (data.test, data.train)])
    shown = torch.cat([split.pixels.targets for split in (data.test, data.train)])
    ours = sorted((row.flatten().tolist(), int(t)) for row, t in zip(found, shown, strict=True))
    images = torch.from_numpy(theirs.data * 255 / 16).round().to(torch.uint8)
    wanted = sorted((row.tolist(), int(t)) for row, t in zip(images, theirs.target, strict=True))
    assert ours == wanted


def idx(array):
    array = torch.as_tensor(array, dtype=torch.uint8)
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.numpy().tobytes()


@pytest.fixture
def folder(tmp_path):
    """A folder with a small Fashion-MNIST."""
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 12), ("t10k", 5)):
        images = torch.randint(256, (count, 28, 28), generator=generator)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(torch.arange(count) % 10))
    return tmp_path


def test_idx_files_of_a_folder(folder):
    data = read_data(f"fashion-mnist:{folder}")
    assert (len(data.train), len(data.test), data.image_shape) == (12, 5, (1, 28, 28))
    assert data.classes == FASHION_MNIST.classes
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    assert data.train.pixels.images.numpy().tobytes() == raw


def test_files_that_are_not_what_they_should_be(folder):
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"
    good_images, good_labels = images.read_bytes(), labels.read_bytes()
    for path, content, message in (
        (labels, idx(torch.arange(11) % 10), "has 12 images, and .* 11 labels; they do not belong"),
        (labels, idx(torch.full((12,), 10)), "labels of 0 to 9 were wanted, not 10"),
        (labels, b"\0\0\x0d\1" + good_labels[4:], "is no IDX file of 1 dimensions: .* 0d 01"),
        (labels, good_labels[:-1], "12 bytes were wanted behind the head, and there are 11"),
        (labels, good_labels[:6], "is cut short: it ends in its head"),
        (labels, b"", "is empty"),
        (images, good_images[: len(good_images) // 2], "is damaged or cut short"),
        (images, gzip.compress(idx(torch.zeros(12, 28, 27))), "square images were wanted"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_data(f"fashion-mnist:{folder}")
        images.write_bytes(good_images)
        labels.write_bytes(good_labels)
    labels.unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte or .*gz was wanted"):
        read_data(f"fashion-mnist:{folder}")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("fashion-mnits", UnknownNameError, "^no data 'fashion-mnits'; did you mean"),
        ("digits:here", DataError, "^digits takes nothing behind a colon"),
        ("mnist:", DataError, "^mnist:: what to read is missing; say mnist:DIR"),
        ("mnist:nowhere", DataError, "^nowhere: a folder with IDX files was wanted"),
    ],
)
def test_names_that_stand_for_nothing(text, error, message):
    with pytest.raises(error, match=message):
        read_data(text)


def test_steps_are_the_same_for_any_number_of_processes():
    assert [step.tolist() for step in training_steps(24, 6, epoch=1, seed=2, world=2)] == [
        step.tolist() for step in training_steps(24, 12, epoch=1, seed=2, world=1)
    ]


def test_read_idx_gives_what_was_written(tmp_path):
    numbers = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    (tmp_path / "numbers").write_bytes(idx(numbers))
    assert torch.equal(read_idx(tmp_path / "numbers", dimensions=3), numbers)


@pytest.mark.parametrize("numbers", [(-1,), (0, -2, 3)])
def test_a_negative_seed_is_one_line(numbers):
    with pytest.raises(ShapeError, match=rf"^`seed` \(={min(numbers)}\) must be 0 or more$"):
        generator_of(*numbers)


def test_images_are_on_a_device_once():
    split = numbered(4).train
    assert split._on("cpu") is split._on("cpu:0")
