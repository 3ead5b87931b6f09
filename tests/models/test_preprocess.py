import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onebyone.errors import ShapeError, UnknownNameError
from onebyone.models import ZOO, Preprocess
from tests.helpers.oracles import timm, torchvision

sides = st.integers(20, 400)


def make_photo(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@given(sides, sides, st.sampled_from([(64, 0.875), (75, 0.95), (90, 0.8975)]), st.booleans())
def test_photos_are_prepared_as_timm_does(width, height, size_and_share, bicubic):
    size, share = size_and_share
    interpolation = "bicubic" if bicubic else "bilinear"
    ours = Preprocess(size, int(size / share), interpolation=interpolation)
    theirs = timm.data.create_transform(
        (3, size, size), interpolation=interpolation, crop_pct=share, mean=ours.mean, std=ours.std
    )
    photo = make_photo(width, height)
    torch.testing.assert_close(ours(photo), theirs(photo))


@given(sides, sides)
def test_photos_are_prepared_as_torchvision_does(width, height):
    ours = Preprocess(224, 232, interpolation="bilinear")
    theirs = torchvision.transforms._presets.ImageClassification(crop_size=224, resize_size=232)
    photo = make_photo(width, height)
    torch.testing.assert_close(ours(photo), theirs(photo))


@pytest.mark.parametrize(
    ("name", "timm_name"),
    [
        *((f"resnet{n}", f"resnet{n}.a1_in1k") for n in (18, 34, 50, 101, 152)),
        ("inception_resnet_v2", "inception_resnet_v2.tf_in1k"),
        ("mobilenet_v2", "mobilenetv2_100.ra_in1k"),
        *((f"efficientnet_lite{i}", f"tf_efficientnet_lite{i}.in1k") for i in range(5)),
    ],
)
def test_the_zoos_numbers_are_those_that_timm_publishes(name, timm_name):
    ours = ZOO[name].weights.preprocess
    theirs = timm.get_pretrained_cfg(timm_name)
    assert theirs.input_size == (3, ours.input_size, ours.input_size)
    assert ours.resize_size == int(ours.input_size / theirs.crop_pct)
    assert ours.interpolation == theirs.interpolation
    # Google's (127, 128) / 255 and timm's (0.5, 0.5) differ by less than one grey level.
    assert ours.mean == pytest.approx(theirs.mean, abs=1 / 255)
    assert ours.std == pytest.approx(theirs.std, abs=1 / 255)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize_size": 5000}, "`resize_size` (=5000) must be at most 4096"),
        ({"std": (0.5, 0.0, 0.5)}, "`std` (=(0.5, 0.0, 0.5)) must be at least 1e-06"),
        (
            {"mean": (0.5, 0.5)},
            "`mean` (=(0.5, 0.5)) must be three finite numbers, or one for grey images",
        ),
        (
            {"mean": (0.0, 0.0, float("inf"))},
            "`mean` (=(0.0, 0.0, inf)) must be three finite numbers, or one for grey images",
        ),
        ({"interpolation": "x"}, "`interpolation` (='x') must be 'bilinear' or 'bicubic'"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes, message):
    with pytest.raises((ShapeError, UnknownNameError)) as error:
        Preprocess(**changes)
    assert str(error.value) == message


def test_a_square_larger_than_the_photo_is_refused():
    message = r"^`input_size` \(=224\) must be in 1..200, the `resize_size` that it is cut from$"
    with pytest.raises(ShapeError, match=message):
        Preprocess(224, 200)


def test_a_network_for_grey_images_sees_a_photos_luminance():
    photo = Image.new("RGB", (16, 16), (200, 100, 50))
    grey = Preprocess(8, 8, mean=(0.2,), std=(0.5,))
    prepared = grey(photo)
    luminance = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    assert prepared.shape == (1, 8, 8)
    assert abs(prepared - (luminance - 0.2) / 0.5).max() < 0.5 / 255 / 0.5 + 1e-6
    assert grey.picture(prepared).shape == (3, 8, 8)


def test_as_many_deviations_as_means():
    with pytest.raises(ShapeError, match="must be as many"):
        Preprocess(8, 8, mean=(0.2,))


def test_a_grey_picture_has_three_channels_of_its_own():
    prepared = torch.zeros(1, 4, 4)
    picture = Preprocess(4, 4, mean=(0.5,), std=(0.5,)).picture(prepared)
    picture[0] = 0
    assert picture[1:].unique().tolist() == [128]
