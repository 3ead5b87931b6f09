"""MNIST and Fashion-MNIST: IDX files from a folder, from Debian's package, or downloaded.

An IDX file begins with two zeros, the kind of its numbers (8: unsigned bytes) and the number of its
dimensions; their lengths follow, 4 bytes each with the highest first, and then the numbers.
"""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onebyone.errors import DataError, first_line
from onebyone.files import check_file
from onebyone.training.data.data import Data
from onebyone.training.data.download import Download
from onebyone.training.data.resident import Pixels, make_data

UNSIGNED_BYTES = 8


@dataclass(frozen=True, slots=True)
class IdxSource:
    """Where a set of IDX files lies, and what its classes are called.

    Attributes:
        name: The set.
        installed: The folder of Debian's package.
        address: The folder on the net.
        checksums: MD5 of each file there, in hexadecimal.
        classes: A name for each class.
    """

    name: str
    installed: Path
    address: str
    checksums: dict[str, str]
    classes: tuple[str, ...]


TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

FASHION_MNIST = IdxSource(
    "fashion-mnist",
    Path("/usr/share/datasets/fashion-mnist"),
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)
MNIST = IdxSource(
    "mnist",
    Path("/usr/share/datasets/mnist"),
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    tuple("0123456789"),
)


def read_idx_source(source: IdxSource, folder: str) -> Data:
    """Read a set from a folder that the user names; from the package or the net if it is "".

    Raises:
        DataError: If a file cannot be had or read, or images and labels do not belong together.
    """
    find = _find_in(Path(folder)) if folder else partial(_find_anywhere, source)
    train, test = (
        _read_pair(find(images), find(labels), len(source.classes))
        for images, labels in (TRAIN, TEST)
    )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{source.name}: images to train on are {tuple(train.images.shape[2:])} pixels and "
            f"images to test with {tuple(test.images.shape[2:])}; get the files again"
        )
    name = f"{source.name}:{folder}" if folder else source.name
    return make_data(name, train, test, source.classes)


def _find_in(folder: Path) -> Callable[[str], Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: a folder with IDX files was wanted, and there is none")

    def find(name: str) -> Path:
        for path in _spellings(folder, name):
            if path.is_file():
                return path
        raise DataError(f"{folder}: {name} or {name}.gz was wanted, and there is no such file")

    return find


def _find_anywhere(source: IdxSource, name: str) -> Path:
    for path in _spellings(source.installed, name):
        if path.is_file():
            return path
    return Download(f"{source.address}/{name}.gz", source.checksums[name]).fetch(source.name)


def _spellings(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name, folder / f"{name}.gz"


def _read_pair(images_path: Path, labels_path: Path, classes: int) -> Pixels:
    images = read_idx(images_path, dimensions=3)
    labels = read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images, and {labels_path} {len(labels)} labels; "
            "they do not belong together: get both again"
        )
    if images.shape[1] != images.shape[2]:
        raise DataError(f"{images_path}: square images were wanted, not {tuple(images.shape[1:])}")
    if not len(labels):
        raise DataError(f"{images_path} has no images; get the file again")
    if (largest := int(labels.max())) >= classes:
        raise DataError(f"{labels_path}: labels of 0 to {classes - 1} were wanted, not {largest}")
    return Pixels(images.unsqueeze(1), labels.long())


def read_idx(path: Path, *, dimensions: int) -> Tensor:
    """Return the bytes of an IDX file, uint8, as the file shapes them.

    Args:
        path: Packed with gzip, or not.
        dimensions: How many there should be: 3 for images, 1 for labels.

    Raises:
        DataError: If it is no such file, or cut short.
    """
    content = _unpacked(path)
    wanted = bytes([0, 0, UNSIGNED_BYTES, dimensions])
    if content[:4] != wanted:
        raise DataError(
            f"{path} is no IDX file of {dimensions} dimensions: it was to begin with "
            f"{wanted.hex(' ')}, and begins with {content[:4].hex(' ')}; get the file again"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is cut short: it ends in its head; get the file again")
    shape = [int(n) for n in np.frombuffer(content, ">u4", dimensions, 4)]
    if len(content) - start != prod(shape):
        raise DataError(
            f"{path}: {' x '.join(map(str, shape))} bytes were wanted behind the head, and there "
            f"are {len(content) - start}; get the file again"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].view(shape)


def _unpacked(path: Path) -> bytes:
    check_file(path, "an IDX file", DataError)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or cut short ({first_line(error)}); get the file again"
        ) from error
