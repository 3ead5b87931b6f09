"""Photos, good and bad, written byte by byte where no library would write them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from onebyone.models.samples import SAMPLE_PHOTOS

CHELSEA, COFFEE, CAMERA, ROCKET, CHINA, FLOWER = SAMPLE_PHOTOS


def png(width: int, height: int, *, bits: int, colour: int, pixels: bytes) -> bytes:
    """A PNG file of one image; `colour` is 0 for grey and 2 for RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(pixels)),
            chunk(b"IEND", b""),
        ]
    )


def rgb16_png() -> bytes:
    return png(8, 8, bits=16, colour=2, pixels=(b"\0" + b"\x12\x34" * 24) * 8)


def bomb_png() -> bytes:
    """A few bytes that claim to be 900 million pixels."""
    return png(30_000, 30_000, bits=8, colour=0, pixels=b"\0" * 100)


def large_png(side: int) -> bytes:
    """A few bytes that claim to be a square photo of that side."""
    return png(side, side, bits=8, colour=2, pixels=b"\0" * 100)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey16_png() -> bytes:
    return encode(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "PNG")


def cmyk_jpeg() -> bytes:
    return encode(Image.new("CMYK", (8, 8)), "JPEG")


def frames(kind: str, count: int = 3) -> bytes:
    first, *rest = (Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(count))
    return encode(first, kind, save_all=True, append_images=rest)


def bmp565() -> bytes:
    """Two red pixels by two, in 16 bits each, by the masks in the header."""
    pixels = struct.pack("<4H", *[0xF800] * 4)
    info = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, len(pixels), 2835, 2835, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    offset = 14 + len(info) + len(masks)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + info + masks + pixels
