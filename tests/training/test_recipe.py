"""Recipes, schedules, optimizers and averages, against PyTorch's own."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel

from onebyone.errors import ShapeError, UnknownNameError
from onebyone.models.reference import ZOO_NAMES
from onebyone.training.average import WeightAverage, decay_at
from onebyone.training.optimizer import build_optimizer, parameter_groups, remember, remembered
from onebyone.training.recipe import (
    FROM_WEIGHTS,
    OTHERWISE,
    RECIPES,
    USUAL,
    Recipe,
    find_recipe,
    usual_for,
)
from onebyone.training.schedule import learning_rate
from tests.training.small import SmallNet, recipe


def test_every_data_set_has_a_recipe_and_a_network():
    for usual in (*USUAL.values(), OTHERWISE, FROM_WEIGHTS):
        assert usual.recipe in RECIPES
        assert usual.model in ZOO_NAMES
    assert usual_for("fashion-mnist:folder") is USUAL["fashion-mnist"]
    assert usual_for("imagefolder:mine") is OTHERWISE
    assert usual_for("imagefolder:mine", model="resnet18") is OTHERWISE
    assert usual_for("imagefolder:mine", weights="imagenet") is FROM_WEIGHTS
    assert usual_for("webdataset:mine", model="best.safetensors") is FROM_WEIGHTS
    assert usual_for("digits", weights="mine.pth") is USUAL["digits"]


def test_recipes_are_plain_numbers_and_words():
    for whole in RECIPES.values():
        json.dumps(asdict(whole))


def test_a_misspelt_recipe_names_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"no recipe 'digit'; did you mean 'digits'.*there are"
    ):
        find_recipe("digit")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, ShapeError, r"`epochs` \(=0\) must be at least 1"),
        ({"batch_size": 0}, ShapeError, r"`batch_size` \(=0\)"),
        ({"rate_images": 0}, ShapeError, r"`rate_images` \(=0\)"),
        ({"learning_rate": -0.1}, ShapeError, r"`learning_rate` \(=-0.1\) must be a finite"),
        ({"learning_rate": float("nan")}, ShapeError, r"`learning_rate` \(=nan\)"),
        ({"clip_norm": 0.0}, ShapeError, r"`clip_norm` \(=0.0\)"),
        ({"weight_decay": -1.0}, ShapeError, r"`weight_decay` \(=-1.0\)"),
        ({"momentum": 1.0}, ShapeError, r"`momentum` \(=1.0\) must be at least 0 and below 1"),
        ({"warmup": -0.1}, ShapeError, r"`warmup` \(=-0.1\)"),
        ({"label_smoothing": 1.5}, ShapeError, r"`label_smoothing` \(=1.5\)"),
        ({"ema_decay": 1.0}, ShapeError, r"`ema_decay` \(=1.0\)"),
        ({"optimizer": "lion"}, UnknownNameError, "'sgd' or 'adamw'"),
        ({"schedule": "steps"}, UnknownNameError, "'cosine' or 'one-cycle'"),
        ({"precision": "8"}, UnknownNameError, "'32' or '16' or 'bf16'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        recipe(**changes)


def test_the_rate_grows_with_the_batch_if_it_is_meant_for_one():
    whole = Recipe(epochs=1, batch_size=512, learning_rate=0.1)
    assert whole.peak_rate == 0.1
    assert replace(whole, rate_images=256).peak_rate == 0.2


@given(
    st.sampled_from(["cosine", "one-cycle"]),
    st.floats(0, 0.9),
    st.integers(2, 300),
)
def test_a_rate_rises_to_its_peak_and_falls_to_nothing(schedule, warmup, steps):
    whole = recipe(schedule=schedule, warmup=warmup, learning_rate=0.4)
    rates = [learning_rate(whole, step, steps) for step in range(steps)]
    top = int(warmup * steps)
    assert rates[top] == pytest.approx(0.4)
    assert max(rates) == pytest.approx(0.4)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(rate >= 0 for rate in rates)
    if top < steps - 1:
        assert rates[-1] <= 0.4 / 1e4


def test_one_cycle_is_pytorchs():
    steps = 200
    whole = recipe(schedule="one-cycle", warmup=0.3, learning_rate=0.4)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    theirs = OneCycleLR(optimizer, max_lr=0.4, total_steps=steps, pct_start=0.305)
    for step in range(steps):
        # Theirs peaks at step 0.305 * 200 - 1 = 60, ours at int(0.3 * 200).
        assert learning_rate(whole, step, steps) == pytest.approx(theirs.get_last_lr()[0], rel=1e-3)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_only_weights_decay():
    network = SmallNet()
    names = {parameter: name for name, parameter in network.named_parameters()}
    decayed, free = parameter_groups(network, 0.01)
    assert {names[p] for p in decayed["params"]} == {"conv1.weight", "conv2.weight", "fc.weight"}
    assert len(decayed["params"]) + len(free["params"]) == len(names)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.01, 0.0)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_memory_goes_to_another_optimizer_in_the_parameters_order(name):
    def step(network, optimizer):
        images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        network.eval()(images).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    def build():
        network = SmallNet(norm=False).to(memory_format=torch.channels_last)
        return network, build_optimizer(network, recipe(optimizer=name))

    (ours, first), (theirs, second) = build(), build()
    step(ours, first)
    memory = {key: value.clone().contiguous() for key, value in remembered(first, ours).items()}
    theirs.load_state_dict(ours.state_dict())
    remember(second, theirs, memory)
    step(ours, first)
    step(theirs, second)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_average_is_pytorchs():
    network = SmallNet()
    average = WeightAverage(network, 0.9)
    oracle = AveragedModel(
        network,
        avg_fn=lambda old, new, count: old + (new - old) * (1 - decay_at(0.9, int(count) - 1)),
        use_buffers=False,
    )
    oracle.update_parameters(network)  # its first call copies
    optimizer = SGD(network.parameters(), lr=0.1)
    for step in range(20):
        network(torch.randn(4, 1, 8, 8)).square().mean().backward()
        optimizer.step()
        average.follow(network, step)
        oracle.update_parameters(network)
    for ours, theirs in zip(average.network.parameters(), oracle.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert int(average.network.bn1.num_batches_tracked) == 20
    assert not torch.equal(average.network.bn1.running_mean, network.bn1.running_mean)
