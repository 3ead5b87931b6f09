"""The file of weights, as `c/weights.h` reads it: a page of facts, and a section a target."""

import hashlib
import struct
import zlib
from collections.abc import Mapping

PAGE_BYTES = 4096
FORMAT = 1
MAGIC = b"ONEBYONE"
HEADER, SECTION = "<8sIIQ16s", "<24sQQII"


def weights_file(sections: Mapping[str, bytes], identity: bytes) -> bytes:
    """Return the content of the file.

    Args:
        sections: Each target's weights, by its name.
        identity: 16 bytes that the library knows the file by.
    """
    padded = {
        name: content + bytes(-len(content) % PAGE_BYTES) for name, content in sections.items()
    }
    position, entries = PAGE_BYTES, b""
    for name, content in padded.items():
        facts = name.encode(), position, len(content), zlib.crc32(content), 0
        entries += struct.pack(SECTION, *facts)
        position += len(content)
    header = struct.pack(HEADER, MAGIC, FORMAT, len(padded), position, identity) + entries
    header = header.ljust(PAGE_BYTES - 4, b"\0")
    return b"".join([header, struct.pack("<I", zlib.crc32(header)), *padded.values()])


def identity_of(sections: Mapping[str, bytes], objects: Mapping[str, bytes]) -> bytes:
    """Return what ties weights to the machine code that reads them."""
    digest = hashlib.sha256()
    for parts in (sections, objects):
        for name, content in parts.items():
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
    return digest.digest()[:16]
