"""Tar shards as WebDataset names and fills them; where in them photos lie."""

import re
import tarfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from onebyone.errors import PhotoError, first_line
from onebyone.files import check_file
from onebyone.models.photo import SUFFIXES
from onebyone.packages import require

SUFFIX = ".tar"
"""What a shard's name ends in. Packed ones are not taken: nobody could read the middle of them."""

_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_MEMBER = re.compile(r"(?P<key>(?:.*/)?[^.]+)\.(?P<extension>[^/]*)")
"""A sample's key goes up to the first dot of the last name in the path, as WebDataset has it."""

_META = re.compile(r"__[^/]*__($|/)")
"""Members that WebDataset keeps its own notes in."""

_END = bytes(tarfile.BLOCKSIZE)
"""The block of zeros that an archive ends with."""


class Member(NamedTuple):
    """The photo of one sample of a shard.

    Attributes:
        key: The sample's key.
        offset: Where the photo begins in the shard, in bytes.
        size: In bytes.
    """

    key: str
    offset: int
    size: int


def is_shard(name: str) -> bool:
    """Say whether a name is one of a shard, or of several: "photos-{000..009}.tar"."""
    return name.endswith((SUFFIX, *_PACKED))


def expand(name: str) -> list[str]:
    """Return the shards that a name with braces stands for.

    Raises:
        MissingPackageError: If it has braces, and the package that reads them is not installed.
        PhotoError: If the braces make no sense, or the shards are packed.

    Example:
        >>> expand("photos-{08..10}.tar")
        ['photos-08.tar', 'photos-09.tar', 'photos-10.tar']
    """
    if name.endswith(_PACKED):
        raise PhotoError(
            f"{name} is packed, and shards are read from the middle; unpack it (photos in it are "
            "packed already, so it grows little), and name the .tar"
        )
    if "{" not in name or Path(name).exists():
        return [name]
    # As WebDataset does, whose own import takes torch.
    require(f"a name with braces ({name})", "braceexpand")
    from braceexpand import braceexpand

    try:
        return list(braceexpand(name))
    except ValueError as error:
        raise PhotoError(f"{name}: a brace is not closed; say photos-{{000..009}}.tar") from error


def find_members(shard: Path) -> Iterator[Member]:
    """Give the photo of each sample, in the shard's order; nothing but heads is read.

    Members that follow one another and share a key are a sample. Its photo is the one with the
    plainest extension: "a.jpg" comes before "a.mask.png". Samples without any are left out.

    Raises:
        PhotoError: If it cannot be read, is damaged or cut short, or a sample has several photos.
    """
    check_file(shard, "a tar shard", PhotoError)
    try:
        with tarfile.open(shard, "r:") as tar:
            for key, members in groupby(_named(tar), key=lambda named: named[0]):
                if photo := _plainest(f"{shard}::{key}", {end: one for _, end, one in members}):
                    yield Member(key, photo.offset_data, photo.size)
            _check_end(shard, tar.offset)
    except (OSError, tarfile.TarError) as error:
        raise PhotoError(
            f"{shard} is damaged, cut short, or no tar file ({first_line(error)}); get it again"
        ) from error


def _named(tar: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Give the key, the extension and the head of each member that belongs to a sample."""
    while (member := tar.next()) is not None:
        tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  else it keeps all
        named = _MEMBER.fullmatch(member.name)
        if named and member.isreg() and not member.issparse() and not _META.match(member.name):
            yield named["key"], named["extension"].lower(), member


def _plainest(place: str, members: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """Return the photo among a sample's members, by their extensions; None if there is none."""
    photos = [end for end in members if f".{end.rpartition('.')[2]}" in SUFFIXES]
    fewest = min((end.count(".") for end in photos), default=0)
    plainest = [end for end in photos if end.count(".") == fewest]
    if len(plainest) > 1:
        raise PhotoError(
            f"{place} was to have one photo, and has several ({', '.join(plainest)}); give each a "
            "name of its own up to the first dot"
        )
    return members[plainest[0]] if plainest else None


def _check_end(shard: Path, offset: int) -> None:
    """Check that an archive says where it ends: `tarfile` takes a damaged head for the end."""
    with shard.open("rb") as file:
        file.seek(offset)
        if file.read(len(_END)) != _END:
            raise tarfile.ReadError(f"no end at byte {offset}")
