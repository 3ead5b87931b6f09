"""Scikit-learn's 1,797 digits of 8 x 8 pixels, which come with its package."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from onebyone.errors import DataError
from onebyone.packages import folder_of, require
from onebyone.training.data.data import Data
from onebyone.training.data.order import generator_of
from onebyone.training.data.resident import Pixels, make_data

SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
BRIGHTEST = 16
TEST_COUNT = 360
"""A fifth of the images."""


def read_digits() -> Data:
    """Read the digits: 1,437 to train on, and 360 to test with, which are always the same.

    Raises:
        MissingPackageError: If scikit-learn is not installed.
        DataError: If its file is damaged.
    """
    rows = np.loadtxt(_find(), delimiter=",", dtype=np.int64)
    # The file has a writer's digits one after another: it is shuffled before the cut.
    order = torch.randperm(len(rows), generator=generator_of(0))
    table = torch.from_numpy(rows)[order]
    images = (table[:, :-1] * 255 / BRIGHTEST).round().to(torch.uint8).view(-1, 1, 8, 8)
    targets = table[:, -1]
    train = Pixels(images[TEST_COUNT:], targets[TEST_COUNT:])
    test = Pixels(images[:TEST_COUNT], targets[:TEST_COUNT])
    return make_data("digits", train, test, tuple("0123456789"))


def _find() -> Path:
    require("reading the digits", "sklearn")
    # Importing the package would take a second.
    path = (folder_of("sklearn") or Path()) / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise DataError(
            f"{path} is missing, or not the file that was wanted; install scikit-learn again: "
            "pip install --force-reinstall scikit-learn"
        )
    return path
