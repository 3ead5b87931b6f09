"""Random changes of images, against the same done one image at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onebyone.errors import ShapeError
from onebyone.training.augment import augment_images, boxes_in, draw_chances, mix
from onebyone.training.recipe import Augment


def drawn(augment, images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    chances = draw_chances(augment, len(images), generator)
    return chances, augment_images(images, augment, chances)


def random_images(count=6, channels=3, height=9, width=7):
    generator = torch.Generator().manual_seed(1)
    shape = count, channels, height, width
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def test_a_mirrored_image_is_pils():
    images = random_images()
    chances, changed = drawn(Augment(flip=True), images)
    assert 0 < int(chances.mirrored.sum()) < len(images)
    for image, after, is_mirrored in zip(images, changed, chances.mirrored, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        if is_mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        assert np.array_equal(np.array(picture), after.permute(1, 2, 0).numpy())


@given(pad=st.integers(1, 4))
def test_a_shifted_image_is_cut_out_of_the_padded_one(pad):
    images = random_images()
    chances, changed = drawn(Augment(pad=pad), images, seed=pad)
    for image, after, (down, across) in zip(images, changed, chances.shifts.tolist(), strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (pad, pad), (pad, pad)))
        cut = padded[:, down : down + image.shape[1], across : across + image.shape[2]]
        assert np.array_equal(cut, after.numpy())


def test_a_crop_of_everything_is_the_image():
    images = random_images()
    augment = Augment(crop_scale=(1.0, 1.0), crop_ratio=(7 / 9, 7 / 9))
    _, changed = drawn(augment, images)
    torch.testing.assert_close(changed, images.float(), atol=1e-3, rtol=0)


def test_a_crop_is_pils_resize_of_the_box():
    images = random_images(height=8, width=8)
    augment = Augment(crop_scale=(0.2, 0.7))
    chances, changed = drawn(augment, images)
    boxes = boxes_in(augment, chances.tries, 8, 8).tolist()
    for image, after, box in zip(images, changed, boxes, strict=True):
        top, left, height, width = box
        for plane, got in zip(image.float(), after, strict=True):
            picture = Image.fromarray(plane[top : top + height, left : left + width].numpy())
            wanted = picture.resize((8, 8), Image.Resampling.BILINEAR)
            assert np.allclose(np.array(wanted), got.numpy(), atol=0.05)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    least=st.floats(0.05, 1),
    seed=st.integers(0),
)
def test_boxes_lie_inside(height, width, least, seed):
    augment = Augment(crop_scale=(least, 1.0))
    generator = torch.Generator().manual_seed(seed % 2**32)
    tries = draw_chances(augment, 16, generator).tries
    tops, lefts, heights, widths = boxes_in(augment, tries, height, width).unbind(1)
    assert bool(((tops >= 0) & (lefts >= 0) & (heights >= 1) & (widths >= 1)).all())
    assert bool(((tops + heights <= height) & (lefts + widths <= width)).all())


def test_mixed_images_and_targets_are_the_same_mixture():
    images = random_images().float()
    targets = torch.arange(6) % 4
    chances, _ = drawn(Augment(mixup=0.5), random_images())
    mixed, shares = mix(images, targets, chances, classes=4)
    assert bool((chances.shares >= 0.5).all())
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    for i, own in enumerate(chances.shares.tolist()):
        wanted = own * images[i] + (1 - own) * images[i - 1]
        torch.testing.assert_close(mixed[i], wanted, atol=1e-3, rtol=1e-5)
        assert float(shares[i, targets[i]]) == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pad": -1}, "^`pad` .=-1. must be 0 or more"),
        ({"crop_scale": (0.5, 0.2)}, "^`crop_scale` .* must be two shares"),
        ({"crop_ratio": (0.0, 1.0)}, "^`crop_ratio` .* must be two numbers above 0"),
        ({"mixup": float("inf")}, "^`mixup` .=inf. must be a finite number"),
    ],
)
def test_numbers_that_make_no_sense(options, message):
    with pytest.raises(ShapeError, match=message):
        Augment(**options)
