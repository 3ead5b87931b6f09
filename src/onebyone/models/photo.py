"""Opening a user's photo: as it looks in a viewer, or not at all."""

import warnings
from collections.abc import Container, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onebyone.errors import PhotoError, first_line
from onebyone.files import check_file
from onebyone.packages import require

if TYPE_CHECKING:
    from PIL import Image, ImageFile

MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
"""Pillow's pixel formats of 8 bits and less, whose colours need no profile to be understood."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF")
"""What Pillow may take a file for. Some of its other readers run programs, or draw pages."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif"}
)
"""What the names of such files end in, in lower case."""

MAX_ASPECT = 100
"""Longer over shorter side. Scaling the shorter side up makes memory grow with this number."""


MAX_PIXELS = 100_000_000
"""Pixels of the largest photo. In RGB they take 300 MB, and a second copy while it is turned."""


def open_photo(photo: str | Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> "Image.Image":
    """Return a photo in RGB, the right way up.

    EXIF orientation is applied. Transparent parts become white. What could only be read wrongly or
    in part is refused: more than 8 bits a channel, CMYK and other colour spaces, several frames.

    Args:
        photo: The name of a file, or what is in one: a binary file, or `io.BytesIO(content)`.
        max_pixels: How many pixels it may have; it is looked at before it is unpacked.

    Raises:
        PhotoError: If the file is missing, damaged, no photo, or of a refused kind.
        MissingPackageError: If Pillow is not installed.
    """
    is_name = isinstance(photo, str | Path)
    path, content = (Path(photo), None) if is_name else (Path("the content"), photo)
    with opened_photo(path, content, max_pixels=max_pixels) as image:
        return turn_and_flatten(image)


def check_photo(path: str | Path) -> None:
    """Check by its first bytes that a file is a photo to open; nothing is unpacked.

    Raises:
        PhotoError: As `open_photo`, except if the file is damaged further on.
    """
    with opened_photo(Path(path)):
        pass


def find_photos(folder: str | Path) -> tuple[tuple[Path, ...], dict[Path, str]]:
    """Return a folder's photos in the order of their names, and why its other files are none.

    Files are looked at by their first bytes; hidden ones, and folders within, are not.

    Raises:
        PhotoError: If it is no folder, or has no photo.
    """
    folder = Path(folder)
    try:
        files = sorted(
            file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PhotoError(
            f"{folder}: a folder of photos was wanted, and it cannot be read ({reason})"
        ) from error
    refused: dict[Path, str] = {}
    for file in files:
        try:
            check_photo(file)
        except PhotoError as error:
            refused[file] = str(error)
    if len(refused) == len(files):
        first = next(iter(refused.values()), "it is empty")
        raise PhotoError(
            f"{folder} has no photo that can be read ({first}); name a folder with JPEGs, PNGs or "
            "the like"
        )
    return tuple(file for file in files if file not in refused), refused


@contextmanager
def opened_photo(
    path: Path,
    content: BinaryIO | None = None,
    *,
    modes: Container[str] = MODES,
    max_pixels: int = MAX_PIXELS,
) -> "Generator[ImageFile.ImageFile]":
    """Give the photo in a file, of a kind to be read; it is unpacked when it is first looked at.

    Args:
        path: The file; or what people call the photo, if its content is given.
        content: What is in it, where it is no file of its own.
        modes: Pillow's pixel formats that are taken.
        max_pixels: As for `open_photo`.

    Raises:
        PhotoError: As `open_photo`; also for what goes wrong while it is unpacked.
    """
    if content is None:
        check_file(path, "a photo", PhotoError)
    require("opening photos", "PIL")
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata
            with Image.open(content or path, formats=FORMATS) as image:
                _check_size(image, path, max_pixels)
                _check_kind(image, path, modes)
                yield image
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{path} is no photo that can be read; a JPEG, PNG, WebP, AVIF, BMP, TIFF or GIF was "
            "wanted"
        ) from error
    except Image.DecompressionBombError as error:  # from somewhat above our own limit on
        raise _too_large(path, max_pixels) from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise PhotoError(
            f"{path} is damaged or cut short ({first_line(error)}); get the file again"
        ) from error


def turn_and_flatten(image: "Image.Image") -> "Image.Image":
    """Return a photo in RGB, turned as EXIF says, with white where it is transparent."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _too_large(path: Path, max_pixels: int) -> PhotoError:
    return PhotoError(
        f"{path} has more than {max_pixels / 1e6:g} million pixels, which is too many to "
        "unpack; scale it down first"
    )


def _check_size(image: "ImageFile.ImageFile", path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(path, max_pixels)


def _check_kind(image: "ImageFile.ImageFile", path: Path, modes: Container[str]) -> None:
    # An MPO is a JPEG that a phone or camera added a preview or a depth map to.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise PhotoError(
            f"{path} has {frames} frames, and one photo was wanted; save the frame that you mean "
            "as a PNG"
        )
    if image.mode.startswith(("I", "F")) or _has_16_bits(image):
        raise PhotoError(
            f"{path} has more than 8 bits a channel ({image.mode}), and 8 were wanted; save it as "
            "an 8-bit PNG or a JPEG"
        )
    if image.mode not in modes:
        raise PhotoError(
            f"{path} is in the colour space {image.mode}, and RGB or grey was wanted; save it so"
        )
    width, height = image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"{path} is {width} x {height} pixels, a stripe; a photo was wanted whose longer side "
            f"is at most {MAX_ASPECT} times the shorter: crop it"
        )


def _has_16_bits(image: "ImageFile.ImageFile") -> bool:
    """Say whether what is stored has 16 bits a channel, even where Pillow makes 8 of them."""
    stored = [str(tile[3]) for tile in image.tile]
    return any(";16" in mode and "BGR;16" not in mode for mode in stored)  # BGR;16 is 5 + 6 + 5
