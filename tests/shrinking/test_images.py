"""Images to decide on: whatever a user gives, as one tensor; what does not serve is told."""

import pytest
import torch
from torch import nn

from onebyone.errors import ShrinkError
from onebyone.shrinking.images import calibration_images
from onebyone.training.data import read_data

IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_tensor_is_taken_evenly():
    assert torch.equal(calibration_images(IMAGES, limit=5), IMAGES[::4])
    assert torch.equal(calibration_images(IMAGES), IMAGES)


@pytest.mark.parametrize("labelled", [False, True])
def test_batches_are_joined(labelled):
    batches = IMAGES.split(6)
    source = [(batch, torch.zeros(len(batch))) for batch in batches] if labelled else batches
    assert torch.equal(calibration_images(source, limit=15), IMAGES[:15])


def test_of_data_the_training_images_are_taken_at_random():
    data = read_data("digits")
    found = calibration_images(data, limit=50)
    assert found.shape == (50, 1, 8, 8)
    assert torch.equal(found, calibration_images(data, limit=50))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "some hundred of them, and none came"),
        (7, "data to train on; a int came"),
        (IMAGES[0], r"images must be `\(N, C, H, W\)`, and \(3, 8, 8\) came"),
        (IMAGES[:1], "two at least, and 1 came"),
        ([IMAGES[:2], IMAGES[:2, :, :4]], "of one size"),
        (["photo"], "must be .* and str came"),
        (torch.full((4, 3, 8, 8), torch.nan), "4 of 4 images hold what is no finite number"),
        (torch.ones(4, 3, 8, 8), "all 4 images are the same"),
    ],
)
def test_what_does_not_serve_is_told(source, message):
    with pytest.raises(ShrinkError, match=message):
        calibration_images(source)


def test_images_of_another_size_than_the_network_wants_are_told():
    network = nn.Sequential(nn.Flatten(), nn.Linear(27, 2)).train()
    with pytest.raises(ShrinkError, match=r"does not run on images of \(3, 8, 8\)"):
        calibration_images(IMAGES, network=network)
    assert network.training
