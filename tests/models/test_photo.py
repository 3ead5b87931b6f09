"""Photos open as they look in a viewer, or are refused with one line."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onebyone.errors import PhotoError
from onebyone.models import check_photo, open_photo
from onebyone.models.samples import SAMPLE_PHOTOS
from tests.helpers import photos
from tests.helpers.photos import CAMERA, ROCKET

ROCKET_BYTES = ROCKET.read_bytes()
CAMERA_BYTES = CAMERA.read_bytes()

# What the file holds, and the line that it is answered with, after the file's name.
BAD = {
    "empty": (b"", " is empty (0 bytes); a photo was wanted: get the file again"),
    "text": (
        b"hello, I am no photo",
        " is no photo that can be read; a JPEG, PNG, WebP, AVIF, BMP, TIFF or GIF was wanted",
    ),
    "cut-jpeg": (
        ROCKET_BYTES[:5000],
        " is damaged or cut short (image file is truncated (6 bytes not processed)); "
        "get the file again",
    ),
    "cut-png": (
        CAMERA_BYTES[:50_000],
        " is damaged or cut short (image file is truncated); get the file again",
    ),
    "grey16": (
        photos.grey16_png(),
        " has more than 8 bits a channel (I;16), and 8 were wanted; save it as an 8-bit PNG "
        "or a JPEG",
    ),
    "rgb16": (
        photos.rgb16_png(),
        " has more than 8 bits a channel (RGB), and 8 were wanted; save it as an 8-bit PNG "
        "or a JPEG",
    ),
    "eps": (
        photos.encode(Image.new("RGB", (8, 8)), "EPS"),
        " is no photo that can be read; a JPEG, PNG, WebP, AVIF, BMP, TIFF or GIF was wanted",
    ),
    "cmyk": (
        photos.cmyk_jpeg(),
        " is in the colour space CMYK, and RGB or grey was wanted; save it so",
    ),
    "gif": (
        photos.frames("GIF"),
        " has 3 frames, and one photo was wanted; save the frame that you mean as a PNG",
    ),
    "webp": (
        photos.frames("WEBP"),
        " has 3 frames, and one photo was wanted; save the frame that you mean as a PNG",
    ),
    "apng": (
        photos.frames("PNG"),
        " has 3 frames, and one photo was wanted; save the frame that you mean as a PNG",
    ),
    "bomb": (
        photos.bomb_png(),
        " has more than 100 million pixels, which is too many to unpack; scale it down first",
    ),
    "144-megapixels": (
        photos.large_png(12_000),
        " has more than 100 million pixels, which is too many to unpack; scale it down first",
    ),
    "stripe": (
        photos.encode(Image.new("RGB", (1, 101)), "PNG"),
        " is 1 x 101 pixels, a stripe; a photo was wanted whose longer side is at most 100 times "
        "the shorter: crop it",
    ),
}


@pytest.mark.parametrize(("content", "line"), BAD.values(), ids=BAD)
def test_a_bad_photo_is_refused_with_one_line(tmp_path, content, line):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError) as error:
        open_photo(path)
    assert str(error.value) == f"{path}{line}"


@pytest.mark.parametrize(("content", "line"), BAD.values(), ids=BAD)
def test_bad_content_is_refused_as_a_file_of_it_is(content, line):
    if not content:
        line = BAD["text"][1]  # there is no file that could be empty
    with pytest.raises(PhotoError) as error:
        open_photo(io.BytesIO(content))
    assert str(error.value) == f"the content{line}"


@pytest.mark.parametrize("path", SAMPLE_PHOTOS, ids=lambda path: path.name)
def test_content_opens_as_its_file_does(path):
    assert open_photo(io.BytesIO(path.read_bytes())) == open_photo(path)


def test_a_caller_may_ask_for_fewer_pixels():
    with pytest.raises(PhotoError) as error:
        open_photo(CAMERA, max_pixels=512 * 512 - 1)
    line = (
        " has more than 0.262143 million pixels, which is too many to unpack; scale it down first"
    )
    assert str(error.value) == f"{CAMERA}{line}"
    assert open_photo(CAMERA, max_pixels=512 * 512).size == (512, 512)


@pytest.mark.parametrize(("content", "line"), BAD.values(), ids=BAD)
def test_all_but_damage_is_seen_without_unpacking(tmp_path, content, line):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    if "damaged or cut short" in line:
        check_photo(path)
        return
    with pytest.raises(PhotoError) as error:
        check_photo(path)
    assert str(error.value) == f"{path}{line}"


def test_100_megapixels_are_a_photo(tmp_path):
    (tmp_path / "photo.png").write_bytes(photos.large_png(10_000))
    check_photo(tmp_path / "photo.png")


def test_a_name_too_long_for_a_file_is_refused():
    with pytest.raises(PhotoError) as error:
        open_photo("x" * 300)
    assert (
        str(error.value) == f"{'x' * 300} cannot be read (File name too long); a photo was wanted"
    )


def test_what_is_no_ordinary_file_is_refused():
    with pytest.raises(PhotoError) as error:
        open_photo("/dev/null")
    assert str(error.value) == (
        "/dev/null is no ordinary file; a photo was wanted: name a file on disk"
    )


def test_a_missing_photo_is_refused(tmp_path):
    with pytest.raises(PhotoError) as error:
        open_photo(tmp_path / "no.jpg")
    assert str(error.value) == f"{tmp_path}/no.jpg: a photo was wanted, and there is no such file"


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(PhotoError) as error:
        open_photo(tmp_path)
    assert str(error.value) == (f"{tmp_path} is a folder; a photo was wanted: name a file in it")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_photo_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(ROCKET_BYTES)
    path.chmod(0)
    with pytest.raises(
        PhotoError, match=r"cannot be read \(Permission denied\); a photo was wanted$"
    ):
        open_photo(path)


@given(st.integers(0, len(ROCKET_BYTES)), st.binary(max_size=20))
def test_any_damage_is_answered_with_a_photo_or_an_error_of_ours(tmp_path_factory, at, junk):
    path = tmp_path_factory.mktemp("damaged") / "photo.jpg"
    path.write_bytes(ROCKET_BYTES[:at] + junk + ROCKET_BYTES[at + len(junk) :])
    try:
        assert open_photo(path).mode == "RGB"
    except PhotoError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    upright = Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turned[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(open_photo(tmp_path / "photo.png"), upright)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_usual_modes_become_rgb(tmp_path, mode):
    Image.new(mode, (5, 4)).save(tmp_path / "photo.png")
    photo = open_photo(tmp_path / "photo.png")
    assert (photo.mode, photo.size) == ("RGB", (5, 4))


def test_16_bits_a_pixel_are_not_16_bits_a_channel(tmp_path):
    """An old kind of BMP: 5 bits of red, 6 of green, 5 of blue."""
    (tmp_path / "photo.bmp").write_bytes(photos.bmp565())
    assert open_photo(tmp_path / "photo.bmp").getpixel((0, 0)) == (255, 0, 0)


def test_what_is_transparent_is_white(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "photo.png")
    assert open_photo(tmp_path / "photo.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_phones_jpeg_with_a_second_picture_is_a_photo(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photos.frames("MPO", 2))
    assert open_photo(tmp_path / "photo.jpg").size == (8, 8)
