"""Compiled networks on disk, so that the second start is quick.

An entry is one file: a head, a description in JSON, packed weights, and machine code. Weights come
before the code, so that they can be written while LLVM is busy. Each part has its digest in the
head, and the head its own, so an entry is as it was written or as good as none. What is checked is
what is used: all is read into memory of ours, and what happens to the file later is of no account.

Digests find accidents; that nobody else can write here is for the folder to see to. So weights, of
which there may be hundreds of megabytes, have a CRC-32 for each slice, and a digest of these: two
to three times as quick as SHA-256 where processors have that in hardware.
"""

import functools
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

import torch
from torch import Tensor

from onebyone.compiler.memory.pages import empty_pages
from onebyone.errors import CacheError
from onebyone.store import PAGE, make_folder, open_folder, pack_head, read_head

SLICE = 2 << 20
"""Bytes of weights that are checked at a time: one large page."""


def read_entry(key: str) -> tuple[dict[str, Any], bytes, Tensor] | None:
    """Return the description, the machine code and the packed constants of an entry.

    None if there is none, if it is damaged, or if others could have written to it; of the last, a
    warning tells.
    """
    try:
        with open_folder() as folder, folder.open(key) as file:
            entry = read_parts(key, file)
            with suppress(OSError):  # a folder that is only read keeps its times
                os.utime(file.fileno())
            return entry
    except CacheError as error:
        _warn(str(error))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def read_parts(key: str, file: BinaryIO) -> tuple[dict[str, Any], bytes, Tensor]:
    """Return the parts of an entry, as `write_parts` wrote them under that key.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not what was written.
    """
    head = read_head(file)
    constants_start, code_start = head["constants_start"], head["code_start"]
    size = os.fstat(file.fileno()).st_size
    if head["key"] != key or size != code_start + head["code_bytes"]:
        raise ValueError("another entry, or not all of one")
    description = bytearray(constants_start - PAGE)
    constants = empty_pages(code_start - constants_start)
    code = bytearray(size - code_start)
    digests = {
        "description": _digest(_filled(description, file, PAGE)),
        "constants": _read_slices(file, _bytes_of(constants), constants_start),
        "code": _digest(_filled(code, file, code_start)),
    }
    if digests != head["digests"]:
        raise ValueError("damaged")
    return json.loads(description), bytes(code), constants


def _read_slices(file: BinaryIO, numbers: memoryview, start: int) -> str:
    """Fill `numbers` from a file, on two threads, and return their digest."""

    def read(first: int) -> int:
        return zlib.crc32(_filled(numbers[first : first + SLICE], file, start + first))

    with ThreadPoolExecutor(max_workers=2) as threads:
        return _digest_of_slices(threads.map(read, range(0, len(numbers), SLICE)))


def _filled(part: bytearray | memoryview, file: BinaryIO, start: int) -> bytearray | memoryview:
    """Fill `part` from a file, and return it."""
    done, wanted = 0, memoryview(part)
    while done < len(part):
        count = os.preadv(file.fileno(), [wanted[done:]], start + done)
        if not count:
            raise ValueError("cut off")
        done += count
    return part


def write_entry(
    key: str,
    description: Mapping[str, Any],
    constants: Tensor,
    finish_code: Callable[[], bytes],
    *,
    summary: Mapping[str, Any],
) -> None:
    """Write an entry; a cache that cannot be written to is no reason to fail.

    Args:
        key: Name of the entry.
        description: What `json` can write.
        constants: Packed weights, as int32.
        finish_code: Returns the machine code, or raises what kept it from being made; called once
            the constants are written, or not at all if they cannot be.
        summary: What the entry is, in a few words for people.
    """
    try:
        make_folder()
        with open_folder() as folder:
            with folder.writing(key) as file:
                write_parts(file, key, description, constants, finish_code, summary=summary)
            folder.sweep()
            folder.bound(keep=key)
    except CacheError as error:
        _warn(str(error))
    except OSError:
        return


def write_parts(
    file: BinaryIO,
    key: str,
    description: Mapping[str, Any],
    constants: Tensor,
    finish_code: Callable[[], bytes],
    *,
    summary: Mapping[str, Any],
) -> None:
    """Write the parts of an entry to an empty file; the arguments are those of `write_entry`."""
    text = json.dumps(description).encode()
    text = text.ljust(-(-len(text) // PAGE) * PAGE)
    numbers = _bytes_of(constants)
    constants_start = PAGE + len(text)
    file.seek(PAGE)
    file.write(text)
    file.write(numbers)
    slices = (numbers[first : first + SLICE] for first in range(0, len(numbers), SLICE))
    digest = _digest_of_slices(map(zlib.crc32, slices))
    code = finish_code()
    file.write(code)
    head = {
        "key": key,
        "constants_start": constants_start,
        "code_start": constants_start + len(numbers),
        "code_bytes": len(code),
        "digests": {
            "description": _digest(text),
            "constants": digest,
            "code": _digest(code),
        },
        "summary": summary,
    }
    file.seek(0)
    file.write(pack_head(head))


def _digest_of_slices(checksums: Iterable[int]) -> str:
    return _digest(" ".join(map(str, checksums)).encode())


def _digest(part: bytes | bytearray | memoryview) -> str:
    return hashlib.sha256(part).hexdigest()


def _bytes_of(constants: Tensor) -> memoryview:
    return constants.view(torch.uint8).numpy().data


@functools.cache
def _warn(line: str) -> None:
    """Warn once in a process; a program's log, the command line's included, shows it as a line."""
    logging.getLogger(__name__).warning(line)
