"""Agreement, and learning from the original."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from onebyone.shrinking.agreement import measure_agreement
from onebyone.shrinking.distil import RECIPE, Taught, divide, tune
from onebyone.training.data import read_data


def linear(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


@pytest.fixture(scope="module")
def data():
    return read_data("digits")


def test_a_network_agrees_with_itself():
    network, images = linear(0), torch.randn(30, 1, 8, 8)
    labels = network(images).argmax(1)
    found = measure_agreement(network, network, images, labels)
    assert (found.top1, found.images, found.accuracy) == (1.0, 30, (1.0, 1.0))
    assert found.divergence == pytest.approx(0, abs=1e-12)


def test_divergence_is_that_of_the_answers():
    one, other, images = linear(0), linear(1), torch.randn(30, 1, 8, 8)
    p, q = (network(images).double().softmax(1) for network in (one, other))
    expected = (p * (p / q).log()).sum(1).mean().item()
    found = measure_agreement(one, other, images)
    assert found.divergence == pytest.approx(expected, rel=1e-6)
    assert found.top1 == (p.argmax(1) == q.argmax(1)).double().mean().item()


def test_taught_targets_are_the_teachers_answers_to_the_same_images(data):
    teacher = linear(0)
    taught = Taught(split=data.train, teacher=teacher, share=0.75)
    options = {"epoch": 1, "seed": 3, "augment": RECIPE.augment}
    pairs = zip(taught.batches(64, **options), data.train.batches(64, **options), strict=True)
    for batch, plain in pairs:
        assert torch.equal(batch.images, plain.images)
        wanted = 0.75 * teacher(plain.images).softmax(1)
        wanted += 0.25 * nn.functional.one_hot(plain.targets, 10)
        torch.testing.assert_close(batch.targets, wanted)
    measured = next(iter(taught.batches(64, epoch=None))).targets
    assert torch.equal(measured, next(iter(data.train.batches(64, epoch=None))).targets)


def test_images_are_learnt_from_or_chosen_by(data):
    learnt, chosen = divide(data.train, data.test, seed=0)
    assert len(learnt) + len(chosen) == len(data.train)
    assert len(divide(learnt, data.test, seed=0)[1]) < len(chosen)


def test_learning_that_helps_is_kept(data):
    recipe = replace(RECIPE, epochs=2, learning_rate=1e-2)
    found = tune(linear(1), linear(0), data, recipe=recipe, share=0.0, seed=1)
    assert found.helped
    assert found.after > found.before + 0.1


def test_learning_that_does_not_help_is_not(data):
    small = linear(1)
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    found = tune(small, linear(0), data, recipe=replace(RECIPE, learning_rate=1e-12))
    assert found.network is small or found.after > found.before
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())
