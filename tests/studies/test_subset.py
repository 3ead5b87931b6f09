"""A part of the images: balanced, and a function of the seed."""

import pytest
import torch

from onebyone.errors import DataError
from onebyone.studies.subset import first_tests, take_images
from onebyone.training.data import read_data
from tests.training.small import small_data

DIGITS = read_data("digits")


@pytest.mark.parametrize("count", [10, 97, 500])
def test_classes_have_as_many_and_no_image_comes_twice(count):
    part = take_images(DIGITS, count, seed=1).train
    counts = torch.bincount(part.pixels.targets, minlength=10)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1
    everything = {image.numpy().tobytes() for image in DIGITS.train.pixels.images}
    chosen = [image.numpy().tobytes() for image in part.pixels.images]
    assert set(chosen) <= everything
    assert len(set(chosen)) == count


def test_the_seed_says_which_and_nothing_else_does():
    one, same, other = (take_images(DIGITS, 100, seed=seed).train.pixels for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)


def test_the_test_and_the_statistics_stay():
    part = take_images(DIGITS, 100, seed=1)
    assert part.test is DIGITS.test
    assert part.train.finish is DIGITS.train.finish
    assert take_images(DIGITS, None, seed=1) is DIGITS


def test_the_first_of_the_test_images():
    few = first_tests(DIGITS, 7).test
    assert torch.equal(few.pixels.images, DIGITS.test.pixels.images[:7])
    assert len(first_tests(DIGITS, 10_000).test) == len(DIGITS.test)


def test_too_many_are_refused():
    with pytest.raises(DataError, match=r"^2000 images of class '0' were wanted, and there are 1"):
        take_images(DIGITS, 20_000, seed=0)


def test_images_that_are_not_in_memory_are_refused():
    with pytest.raises(DataError, match="^small is not kept in memory"):
        take_images(small_data(), 10, seed=0)
