"""Photos, shards and a network small enough to be predicted many times in a test."""

import io
import tarfile

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

NETWORK = """
import torch
from torch import nn
from onebyone.models import ModelCard, Preprocess

def make():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    )
    network.card = ModelCard(model="small", preprocess=Preprocess(8, 8), classes=tuple("abcd"))
    return network
"""


def write_network(folder, text=NETWORK):
    """A user's file with a network in it; what to call it by."""
    path = folder / "mine.py"
    path.write_text(text)
    return f"{path}:make"


def photo(number):
    """A PNG file of noise."""
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_photos(folder, count=11):
    """A folder of photos at two depths, one of which is none."""
    (folder / "inner").mkdir(parents=True)
    for number in range(count):
        place = folder / "inner" if number % 3 == 0 else folder
        (place / f"{number:03}.png").write_bytes(photo(number))
    (folder / "inner" / "damaged.jpg").write_bytes(b"no photo")
    (folder / "labels.csv").write_text("of no interest")
    return folder


def write_shard(path, members):
    """A tar file with members of these names and contents."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return path


def rows_of(path):
    """A result as a list of rows."""
    return pq.read_table(path).to_pylist()
