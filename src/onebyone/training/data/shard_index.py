"""Where the photos of a shard lie in it, and what they show; found once, and kept.

A shard is a tar file in the format of the package webdataset: files that share a name up to its
first dot belong together, such as `cat/7.jpg` and `cat/7.cls`.
"""

import hashlib
import io
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebyone.errors import DataError, first_line
from onebyone.files import check_file
from onebyone.models.photo import SUFFIXES
from onebyone.packages import require
from onebyone.store import keep_content, read_content
from onebyone.training.data.examples import Numbers

_LOG = logging.getLogger(__name__)

FORMAT = 1
"""Raised by one whenever an older index would be misunderstood."""

JSON_LABELS = ("cls", "label")
"""What a class's number may be called in a sample's JSON."""

LARGEST_LABEL = 2**31 - 1

_META = re.compile(r"__[^/]*__($|/)")  # what webdataset passes over

Span = tuple[int, int]
"""Where a file begins in the shard, and its size, in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """The photos of a shard, in its order.

    Attributes:
        keys: What the files of each have in common.
        starts: Where each photo begins in the shard, in bytes.
        sizes: Its size, in bytes.
        targets: The classes' numbers.
    """

    keys: NDArray[np.bytes_]
    starts: Numbers
    sizes: Numbers
    targets: Numbers

    def part(self, chosen: NDArray[np.bool_]) -> "ShardIndex":
        """Return some of the photos."""
        return ShardIndex(*(getattr(self, name)[chosen] for name in _COLUMNS))


def join_indexes(indexes: Sequence[ShardIndex]) -> ShardIndex:
    """Return the photos of several shards, one behind the other."""
    columns = ([getattr(index, name) for index in indexes] for name in _COLUMNS)
    return ShardIndex(*map(np.concatenate, columns))


def index_shard(path: Path) -> ShardIndex:
    """Return a shard's index: the one that is kept, if the shard has not changed since.

    Raises:
        DataError: If the shard cannot be read, or a sample has no photo or no class.
        MissingPackageError: If webdataset is not installed.
    """
    check_file(path, "a shard (.tar)", DataError)
    key = _key_of(path)
    index = _read_kept(key)
    if index is None:
        _LOG.info("looking for the photos in %s", path)
        index = _make_index(path)
        _keep(key, path, index)
    return index


def _make_index(path: Path) -> ShardIndex:
    require("reading shards", "webdataset")
    from webdataset.tariterators import group_by_keys

    rows: list[tuple[bytes, int, int, int]] = []
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for sample in group_by_keys(_members(tar, path)):
                key = str(sample["__key__"])
                place = f"{path}: {key}"
                start, size = _photo_of(sample, place)
                label = _label_of(sample, file.fileno(), place)
                rows.append((os.fsencode(key), start, size, label))
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"{path} is no tar file, packed, or cut short ({first_line(error)}); a .tar that is "
            "not packed was wanted: get the shard again, or unpack it"
        ) from error
    except ValueError as error:  # webdataset's word for two files of one name
        raise DataError(f"{path} is no shard ({error.args[0]}); make it again") from error
    if not rows:
        raise DataError(f"{path} has no photos; a shard with KEY.jpg and KEY.cls was wanted")
    keys, starts, sizes, targets = zip(*rows, strict=True)
    return ShardIndex(np.array(keys), *(np.array(column) for column in (starts, sizes, targets)))


def _members(tar: tarfile.TarFile, path: Path) -> Iterator[dict[str, Any]]:
    """Give a tar's files as webdataset wants them, with a span in place of the content."""
    for member in tar:
        if member.isreg() and not member.issparse() and not _META.match(member.name):
            span: Span = (member.offset_data, member.size)
            yield {"fname": member.name, "data": span, "__url__": str(path)}


def _photo_of(sample: Mapping[str, Any], place: str) -> Span:
    """Return the span of a sample's photo; "7.jpg" comes before "7.mask.png"."""
    photos = sorted(
        (suffix for suffix in sample if f".{suffix.rpartition('.')[2]}" in SUFFIXES),
        key=lambda suffix: suffix.count("."),
    )
    plainest = [suffix for suffix in photos if suffix.count(".") == photos[0].count(".")]
    if len(plainest) != 1:
        found = f"several ({', '.join(plainest)})" if plainest else f"only {_files_of(sample)}"
        raise DataError(f"{place} was to have one photo, such as a .jpg, and has {found}")
    return sample[plainest[0]]


def _label_of(sample: Mapping[str, Any], descriptor: int, place: str) -> int:
    suffix = next((suffix for suffix in ("cls", "json") if suffix in sample), None)
    if suffix is None:
        raise DataError(
            f"{place} was to have its class's number in a .cls or a .json, and has only "
            f"{_files_of(sample)}"
        )
    start, size = sample[suffix]
    text = os.pread(descriptor, size, start)
    try:
        label = json.loads(text)
    except ValueError:
        label = text[:20].decode(errors="replace")
    if isinstance(label, dict):
        label = next((label[name] for name in JSON_LABELS if name in label), None)
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label <= LARGEST_LABEL:
        called = f" as {' or '.join(map(repr, JSON_LABELS))}" if suffix == "json" else ""
        raise DataError(
            f"{place}.{suffix} was to have the class's number, 0 or more,{called} and has {label!r}"
        )
    return label


def _files_of(sample: Iterable[str]) -> str:
    return ", ".join(f".{name}" for name in sample if not name.startswith("__")) or "nothing"


def _key_of(path: Path) -> str:
    """Return what a shard's index is kept under: another shard of that name has another."""
    facts = path.stat()
    known = ["shard", FORMAT, str(path.resolve()), facts.st_size, facts.st_mtime_ns]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _read_kept(key: str) -> ShardIndex | None:
    """Return an index that is kept; None if there is none, or it is not as it was written."""
    content = read_content(key)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            return ShardIndex(*(columns[name] for name in _COLUMNS))
    except (ValueError, KeyError):
        return None


def _keep(key: str, path: Path, index: ShardIndex) -> None:
    """Keep an index."""
    content = io.BytesIO()
    np.savez(content, **{name: getattr(index, name) for name in _COLUMNS})
    keep_content(key, content.getvalue(), {"shard": path.name})


_COLUMNS = ("keys", "starts", "sizes", "targets")
