"""Photos that are read when they are wanted, each with its class; and dividing them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

ONE_IN = 5
"""One in so many photos tests, where nobody has divided them."""


class Examples(Protocol):
    """Photos with their classes, in an order that is always the same."""

    @property
    def targets(self) -> Numbers:
        """The classes' numbers, one a photo."""
        ...

    def name(self, number: int) -> str:
        """Return what people call a photo, from 0."""
        ...

    def open(self, number: int) -> tuple[Path, BinaryIO | None]:
        """Return where a photo lies; and its content, unless that is a file of its own.

        Raises:
            PhotoError: If it cannot be read.
        """
        ...

    def __len__(self) -> int:
        """Return the number of photos."""
        ...


def are_to_test(names: Iterable[bytes]) -> NDArray[np.bool_]:
    """Say of each photo whether it tests, by its name alone: others that are added change nothing.

    Example:
        >>> are_to_test([b"cat/7.jpg", b"cat/8.jpg", b"cat/9.jpg"]).tolist()
        [False, True, False]
    """
    digests = (hashlib.blake2b(name, digest_size=8).digest() for name in names)
    return np.array([int.from_bytes(digest) % ONE_IN == 0 for digest in digests], dtype=bool)
