"""Images to run a network on, when what its layers do with real photos is to be seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from onebyone.errors import PhotoError, ShapeError
from onebyone.graph import Graph, Shape
from onebyone.models import Preprocess, find_photos, open_photo
from onebyone.models.samples import SAMPLE_PHOTOS

if TYPE_CHECKING:
    from PIL import Image

MAX_IMAGES = 64
"""Images that are made of a folder's photos, as long as nobody asks for more."""

MAX_NUMBERS = 2**26
"""Numbers of all images together, 256 MiB: 445 images of 224 x 224, 21 of 1024 x 1024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Say which square of a photo is looked at.

    Attributes:
        across: Where it lies, from 0 at the left to 1 at the right.
        down: The same from 0 at the top to 1 at the bottom.
        scale: How many times as large as usual the photo is made before the square is cut out.
        mirrored: Whether left and right change places.
    """

    across: float
    down: float
    scale: float = 1.0
    mirrored: bool = False

    def cut(self, photo: "Image.Image", preprocess: Preprocess) -> Tensor:
        """Return the square as the network's input, `(3, H, W)`."""
        from PIL import ImageOps  # whoever has a photo has the package

        square = preprocess.cut(photo, scale=self.scale, across=self.across, down=self.down)
        return preprocess.normalise(ImageOps.mirror(square) if self.mirrored else square)


CROPS = (
    Crop(across=0.5, down=0.5),
    Crop(across=1, down=0),
    Crop(across=0, down=1),
    Crop(across=1, down=1),
    Crop(across=0, down=0, scale=1.5, mirrored=True),
    Crop(across=1, down=0, scale=1.5, mirrored=True),
    Crop(across=0, down=1, scale=1.5, mirrored=True),
    Crop(across=1, down=1, scale=1.5, mirrored=True),
)
"""What is looked at of each photo where there are few: the usual square first, then others."""

MOST_CROPS = len(CROPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Hold what a network is run on, image by image.

    Attributes:
        prepared: The network's input, `(N, C, H, W)`, float32. An image and the next one come from
            different photos, where there are several.
        source: Where they come from, for people, such as "8 crops of each of 6 sample photos".
        preprocess: How they were made of photos; None where they came prepared.
        skipped: Files that could not be read, each with the reason.
    """

    prepared: Tensor
    source: str
    preprocess: Preprocess | None = None
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.prepared)

    def __getitem__(self, index: int) -> Tensor:
        """Return one image as the network's input, `(1, C, H, W)`."""
        return self.prepared[index][None]

    def __iter__(self) -> Iterator[Tensor]:
        """Go through the images, `(1, C, H, W)` each."""
        return (self[index] for index in range(len(self)))

    def picture(self, index: int) -> Tensor | None:
        """Return what an image looks like, `(3, H, W)`, uint8; None where it came prepared."""
        return self.preprocess.picture(self.prepared[index]) if self.preprocess else None


def sample_images(preprocess: Preprocess, *, crops: int = MOST_CROPS) -> Images:
    """Return crops of the photos that come with this package.

    Args:
        preprocess: How a photo becomes the network's input.
        crops: Of each photo, 1 to 8; fewer where the network's input is very large.

    Raises:
        MissingPackageError: If Pillow, which opens them, is not installed.
    """
    limit = crops * len(SAMPLE_PHOTOS)
    return _crops_of(SAMPLE_PHOTOS, preprocess, limit=limit, of="sample photo")


def folder_images(folder: str | Path, preprocess: Preprocess, *, limit: int = MAX_IMAGES) -> Images:
    """Return crops of the photos in a folder, in the order of their names.

    Where there are more photos than images may be made, some are taken, evenly through the folder,
    and the usual square of each; of fewer, up to eight crops of each.

    Args:
        folder: Its own files are looked at, and no folders within it.
        preprocess: How a photo becomes the network's input.
        limit: How many images at most; fewer where the network's input is very large.

    Raises:
        PhotoError: If it is no folder, or has no photo that can be read.
    """
    photos, skipped = find_photos(folder)
    images = _crops_of(photos, preprocess, limit=limit, of=f"photo in {folder}")
    return replace(images, skipped=(*skipped.values(), *images.skipped))


def prepared_images(prepared: Tensor, *, source: str = "the images given") -> Images:
    """Return images that already are what the network reads.

    Args:
        prepared: `(N, C, H, W)`.
        source: What they are, for people.

    Raises:
        ShapeError: If the tensor is not of that shape, or empty.
    """
    if prepared.ndim != 4 or not prepared.numel():
        raise ShapeError(
            f"`images` must be `(N, C, H, W)`, and {tuple(prepared.shape)} came; give one image as "
            "image[None]"
        )
    return Images(prepared=prepared.detach().float().cpu(), source=source)


def fit_preprocess(preprocess: Preprocess, shape: Shape) -> Preprocess:
    """Return the preprocessing for a network's input of a shape: the same view, in its size.

    Raises:
        ShapeError: If no photo becomes an input of that shape, which is not `(N, 3, S, S)`.
    """
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ShapeError(
            f"photos become inputs of (1, 3, S, S), and this network reads {tuple(shape)}; give "
            "`images` as a tensor"
        )
    size = shape[2]
    resized = round(preprocess.resize_size * size / preprocess.input_size)
    return replace(preprocess, input_size=size, resize_size=resized)


def check_images(graph: Graph, images: Images) -> None:
    """Check that a captured network can be run on images, one at a time.

    Raises:
        ShapeError: If it has several inputs, or one of another shape.
    """
    if len(graph.inputs) != 1:
        raise ShapeError(
            f"images can be given to networks with one input, and this one has {len(graph.inputs)}"
        )
    (wanted,), given = graph.inputs, tuple(images.prepared.shape[1:])
    if wanted.shape != (1, *given):
        raise ShapeError(
            f"the network was captured for an input of {wanted.shape}, and `images` are {given} "
            "each; give images of that shape, and an example of one image"
        )


def _crops_of(files: Sequence[Path], preprocess: Preprocess, *, limit: int, of: str) -> Images:
    """Cut photos; an image and the next one come from different photos."""
    if limit < 1:
        raise ShapeError(f"at least 1 image must be looked at, and {limit} were asked for")
    most = min(limit, max(2, MAX_NUMBERS // (3 * preprocess.input_size**2)))
    chosen = _evenly(files, most)
    crops = CROPS[: most // len(chosen)]
    cut: list[Tensor] = []
    skipped: list[str] = []
    for file in chosen:
        try:
            photo = open_photo(file)
        except PhotoError as error:  # damaged somewhere behind its first bytes
            skipped.append(str(error))
        else:
            cut.append(torch.stack([crop.cut(photo, preprocess) for crop in crops]))
    if not cut:
        raise PhotoError(f"none of {len(chosen)} photos can be read: {skipped[0]}")
    return Images(
        prepared=torch.stack(cut, 1).flatten(0, 1),
        source=_source(len(cut), len(crops), of),
        preprocess=preprocess,
        skipped=tuple(skipped),
    )


def _source(photos: int, crops: int, of: str) -> str:
    """Say where images come from, in words."""
    noun, _, place = of.partition(" in ")
    what = f"{photos} {noun}{'s' if photos > 1 else ''}{f' in {place}' if place else ''}"
    return what if crops == 1 else f"{crops} crops of {'each of ' if photos > 1 else ''}{what}"


def _evenly(files: Sequence[Path], most: int) -> Sequence[Path]:
    """Return at most so many files, evenly through all of them, the first one included."""
    count = min(most, len(files))
    return [files[index * len(files) // count] for index in range(count)]
