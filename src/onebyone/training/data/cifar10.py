"""CIFAR-10: its binary archive, given, unpacked or downloaded; never the one with pickles.

A record is a byte for the class, and then 32 x 32 bytes for each of red, green and blue.
"""

import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch

from onebyone.errors import DataError, first_line
from onebyone.files import check_file
from onebyone.training.data.data import Data
from onebyone.training.data.download import Download
from onebyone.training.data.resident import Pixels, make_data

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
"""What the archive unpacks to."""

DOWNLOAD = Download(
    f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}", "c32a1d4ab5d03f1284b67883e8d87530"
)
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)
IMAGE_SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def read_cifar10(place: str) -> Data:
    """Read CIFAR-10 from a folder or an archive that the user names; from the net if it is "".

    Raises:
        DataError: If it cannot be had or read, or is not what it should be.
    """
    path = Path(place) if place else DOWNLOAD.fetch("cifar10")
    files = _from_folder(path) if path.is_dir() else _from_archive(path)
    train, test = _read_records(path, files, TRAIN), _read_records(path, files, TEST)
    return make_data(f"cifar10:{place}" if place else "cifar10", train, test, CLASSES)


def _from_folder(folder: Path) -> Mapping[str, bytes]:
    """Return the files of a folder, or of what it holds of the archive."""
    if (folder / FOLDER).is_dir():
        folder = folder / FOLDER
    if not (folder / TEST[0]).exists() and (folder / ARCHIVE).exists():
        return _from_archive(folder / ARCHIVE)
    files: dict[str, bytes] = {}
    for name in (*TRAIN, *TEST):
        check_file(folder / name, f"a file of {ARCHIVE}", DataError)
        files[name] = (folder / name).read_bytes()
    return files


def _from_archive(path: Path) -> Mapping[str, bytes]:
    check_file(path, f"{ARCHIVE}, or a folder with what is in it,", DataError)
    try:
        with tarfile.open(path, "r:*") as archive:
            found = {Path(member.name).name: member for member in archive if member.isfile()}
            wanted = {name: archive.extractfile(found[name]) for name in (*TRAIN, *TEST)}
            return {name: file.read() for name, file in wanted.items() if file}
    except KeyError as error:
        raise DataError(
            f"{path} has no {error.args[0]}: the binary version was wanted, {ARCHIVE}, not the "
            "one for Python or Matlab; get that"
        ) from error
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{path} is no archive that can be read, or cut short ({first_line(error)}); get "
            f"{ARCHIVE} again"
        ) from error


def _read_records(path: Path, files: Mapping[str, bytes], names: tuple[str, ...]) -> Pixels:
    for name in names:
        size = len(files[name])
        if not size or size % RECORD_BYTES:
            raise DataError(
                f"{path}: {name} was to have images of {RECORD_BYTES} bytes, and has {size} bytes; "
                f"get {ARCHIVE} again"
            )
    content = bytearray().join(files[name] for name in names)
    records = torch.frombuffer(content, dtype=torch.uint8).view(-1, RECORD_BYTES)
    targets = records[:, 0].long()
    if (largest := int(targets.max())) >= len(CLASSES):
        raise DataError(
            f"{path}: classes of 0 to {len(CLASSES) - 1} were wanted in {names[0]} and the like, "
            f"not {largest}; get {ARCHIVE} again"
        )
    return Pixels(records[:, 1:].reshape(-1, *IMAGE_SHAPE), targets)
