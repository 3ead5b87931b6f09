"""Compiled networks on disk, so that the second start is quick.

An entry is one file: a line of JSON, packed weights, and machine code. Weights start at a page, so
that they are mapped and not copied, and come before the code, so that they can be written while
LLVM is busy. Entries are written under another name and renamed; one that is damaged is as good as
none. What has not been used for longest goes when there is too much.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onebyone.files import replacing
from onebyone.graph import Graph, Node

LARGEST_BYTES = 8 << 30
"""What all entries together may take."""

PAGE = 4096

SLICES = 16
"""Into how many parts weights are cut for hashing: enough to keep both threads busy to the end."""


def cache_directory() -> Path:
    """Return where entries lie: `ONEBYONE_CACHE_DIR`, or a folder among the user's caches."""
    named = os.environ.get("ONEBYONE_CACHE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "onebyone" / "compiled"


def graph_key(graph: Graph, *facts: str) -> str:
    """Return what a compiled graph depends on, as a name: nodes, weights and further facts."""
    digest = hashlib.sha256(json.dumps([_compiler_version(), *facts]).encode())
    tensors = list(_tensors(graph))
    # One at a time, small tensors would cost more to hand to a thread than to hash.
    slices = [tensors[first::SLICES] for first in range(SLICES)]
    with ThreadPoolExecutor(max_workers=2) as threads:  # hashing leaves Python's lock free
        for part in threads.map(_tensor_digests, slices):
            digest.update(part)
    for node in graph:
        digest.update(_describe(node).encode())
    digest.update(repr(graph.outputs).encode())
    return digest.hexdigest()


@functools.cache
def _compiler_version() -> str:
    """Return a digest of our own source, since other code may generate other code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _tensors(graph: Graph) -> Iterable[Tensor]:
    for node in graph:
        for value in _values(node):
            yield from _flat_tensors(value)


def _values(node: Node) -> list[Any]:
    return [getattr(node, one.name) for one in fields(node)]


def _flat_tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat_tensors(item)
    elif isinstance(value, Mapping):
        yield from _flat_tensors(list(value.values()))


def _tensor_digests(tensors: Iterable[Tensor]) -> bytes:
    return b"".join(map(_tensor_digest, tensors))


def _tensor_digest(tensor: Tensor) -> bytes:
    plain = tensor.detach().contiguous()
    facts = f"{plain.dtype} {tuple(plain.shape)}"
    digest = hashlib.sha256(facts.encode())
    if plain.numel():
        digest.update(plain.view(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def _describe(node: Node) -> str:
    def plain(value: Any) -> str:
        if isinstance(value, Tensor):
            return "tensor"
        if isinstance(value, Mapping):
            value = [part for pair in value.items() for part in pair]
        if isinstance(value, (list, tuple)):
            return f"[{' '.join(map(plain, value))}]"
        return str(value) if callable(value) else repr(value)

    shown = (plain(value) for value in _values(node))
    return f"{node.kind} {' '.join(shown)}\n"


def read_entry(key: str) -> tuple[dict[str, Any], bytes, Tensor] | None:
    """Return the description, the machine code and the packed constants of an entry.

    None if there is none, or if it is damaged. The constants are a view of the mapped file.
    """
    path = cache_directory() / key
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
            file.seek(head["code_start"])
            code = file.read()
        if len(code) != head["code_bytes"]:
            return None
        words = head["code_start"] // 4
        whole = torch.from_file(str(path), shared=False, size=words, dtype=torch.int32)
        constants = whole[head["constants_start"] // 4 :]
        if head["checksum"] != _checksum(head["description"], code, constants):
            return None
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    return head["description"], code, constants


def write_entry(
    key: str, description: dict[str, Any], constants: Tensor, finish_code: Callable[[], bytes]
) -> None:
    """Write an entry; a cache that cannot be written to is no reason to fail.

    Args:
        key: Name of the entry.
        description: What `json` can write.
        constants: Packed weights, as int32.
        finish_code: Returns the machine code, or raises what kept it from being made; called once
            the constants are written, or not at all if they cannot be.
    """
    directory = cache_directory()
    constants_start = PAGE * (1 + (len(json.dumps(description)) + 1024) // PAGE)
    code_start = constants_start + constants.nbytes
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(directory / key) as temporary, temporary.open("wb") as file:
            file.seek(constants_start)
            file.write(constants.numpy().data)
            code = finish_code()
            file.write(code)
            head = {
                "constants_start": constants_start,
                "code_start": code_start,
                "code_bytes": len(code),
                "checksum": _checksum(description, code, constants),
                "description": description,
            }
            file.seek(0)
            file.write(json.dumps(head).encode() + b"\n")
        _remove_oldest(directory, keep=key)
    except OSError:
        return


def _checksum(description: dict[str, Any], code: bytes, constants: Tensor) -> str:
    """Return a digest of the small parts, and of a sum over the large one, which is quick."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    digest.update(code)
    pairs = constants[: constants.numel() // 2 * 2].view(torch.int64)
    digest.update(str([int(pairs.sum()), constants.numel()]).encode())
    return digest.hexdigest()


def _remove_oldest(directory: Path, keep: str) -> None:
    entries = [path for path in directory.iterdir() if path.is_file() and path.name != keep]
    entries.sort(key=lambda path: path.stat().st_mtime)
    total = (directory / keep).stat().st_size + sum(path.stat().st_size for path in entries)
    while entries and total > LARGEST_BYTES:
        oldest = entries.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)
