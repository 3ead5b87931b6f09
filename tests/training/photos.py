"""Small photos in folders and shards, each of which can be told from the others."""

import io
import json
import tarfile

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "owl")


def picture(number, *, size=None):
    """An image of a size and of colours that belong to its number."""
    generator = np.random.default_rng(number)
    width, height = size or generator.integers(20, 60, 2).tolist()
    small = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def write_class(folder, name, numbers):
    """Write one class's photos; return their paths."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    paths = [folder / name / f"{number:03}.jpg" for number in numbers]
    for path, number in zip(paths, numbers, strict=True):
        path.write_bytes(encoded(picture(number)))
    return paths


def write_folder(root, *, train=7, val=4, classes=CLASSES):
    """Write DIR/train/CLASS and DIR/val/CLASS."""
    for i, name in enumerate(classes):
        write_class(root / "train", name, range(100 * i, 100 * i + train))
        write_class(root / "val", name, range(100 * i + 50, 100 * i + 50 + val))
    return root


def write_shard(path, files):
    """Write a tar with files, given as pairs of name and content."""
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def sample(number, label, *, label_in="cls"):
    """The files of one photo in a shard."""
    text = str(label) if label_in == "cls" else json.dumps({"label": label, "width": 30})
    return [
        (f"{number:03}.jpg", encoded(picture(number))),
        (f"{number:03}.{label_in}", text.encode()),
    ]
