"""What a network is decided on, and what it is judged by."""

import numpy as np
import pytest
import torch
from PIL import Image

from onebyone.errors import OneByOneError, ShrinkError
from onebyone.models.preprocess import Preprocess
from onebyone.shrinking import material as module
from onebyone.shrinking.material import read_material

SMALL = Preprocess(input_size=16, resize_size=16)


@pytest.fixture
def folder(tmp_path):
    """A folder of photos, each of one colour."""

    def make(count):
        for number in range(count):
            pixels = np.full((20, 20, 3), 10 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
        return str(tmp_path)

    return make


def colours(images):
    return {round(float(image[0, 8, 8]), 3) for image in images}


def test_every_fourth_photo_judges_and_none_does_both(folder):
    found = read_material(folder(12), SMALL, limit=9)
    assert (len(found.judged), len(found.images)) == (3, 9)
    assert found.labels is None
    assert not colours(found.judged) & colours(found.images)


def test_few_photos_are_cut_into_several_and_that_is_said(folder, monkeypatch):
    few = read_material(folder(4), SMALL, limit=100)
    assert len(few.images) == 8 * 3
    assert "8 crops of each of 3 photos" in few.source
    assert "decided on 3 photos" in few.advice
    monkeypatch.setattr(module, "FEW", 3)
    assert not read_material(folder(4), SMALL, limit=100).advice


def test_damaged_photos_are_left_out(folder, tmp_path):
    path = folder(8)
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "000.png")
    (tmp_path / "000.png").write_bytes((tmp_path / "000.png").read_bytes()[:600])
    assert len(read_material(path, SMALL, limit=6).images) == 5


def test_of_data_the_test_images_judge():
    found = read_material("digits", SMALL, limit=32)
    assert len(found.images) == 32
    assert len(found.judged) == len(found.labels) > 100
    assert not found.advice
    assert found.images.dtype == torch.float32


def test_too_few_photos_are_told(folder):
    with pytest.raises(ShrinkError, match="4 at least.*there are 3"):
        read_material(folder(3), SMALL)


def test_an_unknown_name_is_told():
    with pytest.raises(OneByOneError, match="nowhere"):
        read_material("nowhere", SMALL)
