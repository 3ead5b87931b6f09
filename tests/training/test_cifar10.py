"""CIFAR-10's archive: what is read from it, and archives that are not what they should be."""

import tarfile

import pytest
import torch

from onebyone.errors import DataError
from onebyone.training.data import cifar10, read_data
from onebyone.training.data.cifar10 import ARCHIVE, CLASSES, FOLDER, RECORD_BYTES, TEST, TRAIN
from onebyone.training.data.download import Download


def records(count, seed):
    """Records, and the images and classes that they are of."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    targets = torch.randint(10, (count,), generator=generator, dtype=torch.uint8)
    content = b"".join(
        bytes([int(target)]) + image.numpy().tobytes()
        for image, target in zip(images, targets, strict=True)
    )
    return content, images, targets.long()


@pytest.fixture
def folder(tmp_path):
    """What the archive unpacks to, with four images a file."""
    inner = tmp_path / FOLDER
    inner.mkdir()
    for seed, name in enumerate((*TRAIN, *TEST)):
        (inner / name).write_bytes(records(4, seed)[0])
    (inner / "batches.meta.txt").write_text("\n".join(CLASSES))
    return tmp_path


def pack(folder):
    path = folder / ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder / FOLDER, FOLDER)
    return path


def check_images(data):
    assert (data.image_shape, data.classes) == ((3, 32, 32), CLASSES)
    wanted = [records(4, seed) for seed in range(6)]
    for split, parts in ((data.train, wanted[:5]), (data.test, wanted[5:])):
        assert torch.equal(split.pixels.images, torch.cat([images for _, images, _ in parts]))
        assert torch.equal(split.pixels.targets, torch.cat([targets for *_, targets in parts]))


def test_a_folder_what_is_in_it_and_an_archive_are_the_same(folder, tmp_path_factory):
    check_images(read_data(f"cifar10:{folder}"))
    check_images(read_data(f"cifar10:{folder / FOLDER}"))
    check_images(read_data(f"cifar10:{pack(folder)}"))
    with_archive = tmp_path_factory.mktemp("archive")
    pack(folder).rename(with_archive / ARCHIVE)
    check_images(read_data(f"cifar10:{with_archive}"))


def test_it_is_downloaded_once_and_checked(folder, tmp_path, monkeypatch):
    import hashlib

    archive = pack(folder)
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(cifar10, "DOWNLOAD", Download(archive.as_uri(), md5))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert read_data("cifar10").name == "cifar10"
    archive.rename(tmp_path / "moved")
    check_images(read_data("cifar10"))
    (tmp_path / "hub" / "datasets" / "cifar10" / ARCHIVE).write_bytes(b"something else")
    with pytest.raises(DataError, match=f"{ARCHIVE} is damaged: its md5 was to be {md5}"):
        read_data("cifar10")


def test_the_archive_is_the_binary_one():
    assert cifar10.DOWNLOAD.md5 == "c32a1d4ab5d03f1284b67883e8d87530"
    assert cifar10.DOWNLOAD.url.endswith("/cifar-10-binary.tar.gz")


def test_files_that_are_not_what_they_should_be(folder):
    path = folder / FOLDER / TRAIN[2]
    good = path.read_bytes()
    for content, message in (
        (good[:-1], f"{TRAIN[2]} was to have images of 3073 bytes, and has {len(good) - 1} bytes"),
        (b"", "data_batch_3.bin is empty"),
        (b"\x0a" + good[1:RECORD_BYTES], "classes of 0 to 9 were wanted in .*, not 10"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_data(f"cifar10:{folder}")
    path.unlink()
    with pytest.raises(DataError, match=f"{TRAIN[2]}: a file of {ARCHIVE} was wanted, and there"):
        read_data(f"cifar10:{folder}")
    with pytest.raises(DataError, match=f"has no {TRAIN[2]}: the binary version was wanted"):
        read_data(f"cifar10:{pack(folder)}")


def test_archives_that_are_none(folder):
    archive = pack(folder)
    content = archive.read_bytes()
    for broken in (content[: len(content) // 2], b"no archive" * 99):
        archive.write_bytes(broken)
        with pytest.raises(DataError, match="is no archive that can be read, or cut short"):
            read_data(f"cifar10:{archive}")
    with pytest.raises(DataError, match="nowhere: .* was wanted, and there is no such file"):
        read_data("cifar10:nowhere")
