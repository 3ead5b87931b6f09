"""A study that takes a moment, run in this process."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from onebyone.studies import run
from onebyone.studies.catalogue import find_study
from onebyone.studies.study import Arm, Comparison, Panel, Quantity, Scale, Series, Study
from onebyone.studies.trial import Trial, run_trial, write_result
from onebyone.training.data import read_data
from onebyone.training.recipe import RECIPES


def linear(data):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def perceptron(data):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def weigh(network, data, score):
    """Something about the network itself, and about one with fewer weights."""
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    return {"": {"norm": float(weights.norm())}, "drawn": {"norm": float(torch.randn(()))}}


SCALE = Scale(
    data="digits",
    images=200,
    recipe=replace(RECIPES["digits"], epochs=2),
    seeds=3,
    rounds=0,
)

STUDY = Study(
    name="small",
    title="Two networks",
    question="Which one?",
    article="It says nothing.",
    literature="All of it is known.",
    arms=(
        Arm(name="linear", label="one layer", build=linear),
        Arm(name="two", label="two layers", build=perceptron, learning_rate=0.05),
    ),
    comparisons=(
        Comparison(
            this="two",
            that="linear",
            quantity="accuracy",
            question="Are two better?",
            more="Two are better.",
            less="One is better.",
            alike="It cannot be told.",
        ),
    ),
    full=SCALE,
    quick=replace(SCALE, images=100),
    panels=(
        Panel(title="Norms", y="norm", x="params", is_log=True),
        Panel(
            title="Beside one layer",
            y="accuracy",
            base="linear",
            series=(Series(label="deep", conditions=("two",)),),
        ),
    ),
    limits="It is small.",
    measure=weigh,
    labels={"drawn": "drawn at random"},
    quantities={"norm": Quantity(label="norm", digits=2)},
)


def run_here(monkeypatch, study=STUDY, stop_behind=None):
    """Let `run_study` run this study in this process; return the names of the trials that ran."""
    ran = []

    def run_tasks(tasks, *, jobs):
        for task in tasks:
            if len(ran) == stop_behind:
                raise KeyboardInterrupt
            _, arm, seed, path, *quick = task.arguments
            scale = study.quick if quick else study.full
            trial = Trial(study=study, scale=scale, arm=study.arm(arm), seed=int(seed))
            write_result(Path(path), run_trial(trial, read_data(scale.data)))
            ran.append(task.name)
            yield task

    monkeypatch.setattr(
        run, "find_study", lambda name: study if name == study.name else find_study(name)
    )
    monkeypatch.setattr(run, "run_tasks", run_tasks)
    return ran
