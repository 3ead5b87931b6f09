"""`onebyone train`: what it prints, and how it ends."""

import json
import os
import signal
import time

import pytest
import torch

from onebyone.cli.program import run_program
from onebyone.models import load_model, open_photo, predict
from onebyone.training import by_name, loop
from tests.helpers.photos import COFFEE
from tests.training.small import small_data


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(by_name, "read_data", lambda name: small_data(train=64, name=name))


def train(out, *more):
    return run_program(
        ["train", "resnet20", "--out", str(out), "--epochs", "1", "--batch-size", "16", *more]
    )


def test_it_trains_evaluates_and_predicts(tmp_path, capsys):
    assert train(tmp_path, "--json", "--lr", "0.02") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["finished"], printed["steps"], len(printed["epochs"])) == (True, 4, 1)
    assert printed["recipe"]["learning_rate"] == 0.02
    best = tmp_path / "best.safetensors"
    assert run_program(["train", "--evaluate", str(best), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["count"] == 50
    assert score["accuracy"] == printed["best"]["test_accuracy"]
    assert score["loss"] == pytest.approx(printed["best"]["test_loss"], rel=1e-5)
    network, card = load_model(best)
    assert card.classes == ("a", "b", "c", "d")
    assert len(predict(network, card, open_photo(COFFEE), top=4).top) == 4


def test_a_run_is_not_written_over_and_goes_on_by_resume(tmp_path, capsys):
    assert train(tmp_path) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert train(tmp_path) == 2
    assert capsys.readouterr().err.strip() == (
        f"onebyone: {tmp_path} holds a run already; go on with it by --resume (resume=True), or "
        "name another folder"
    )
    assert train(tmp_path, "--resume") == 0
    capsys.readouterr()
    assert train(tmp_path, "--resume", "--lr", "1") == 2
    assert "learning_rate 0.1, and 1.0 was asked for" in capsys.readouterr().err


def test_sigterm_ends_it_with_a_line(tmp_path, capsys, monkeypatch):
    whole = loop.train_network

    def ask(progress):
        if progress.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def interrupted(*args, watch, **keywords):
        return whole(*args, watch=ask, **keywords)

    monkeypatch.setattr(by_name, "train_network", interrupted)
    assert train(tmp_path) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM behind step 2; the same command with --resume goes on" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a folder for what comes of it was wanted: --out DIR"),
        (["--out", "x", "--recipe", "digit"], "no recipe 'digit'; did you mean 'digits'?"),
        (["--out", "x", "--lr", "-1"], "`learning_rate` (=-1.0) must be a finite number above 0"),
        (["--out", "x", "--precision", "8"], "`precision` (='8') must be"),
        (["--evaluate", "no.safetensors"], "no.safetensors: a checkpoint was wanted"),
        (["resnet21", "--out", "x"], "no model 'resnet21'"),
    ],
)
def test_a_wrong_use_is_one_line(arguments, message, capsys):
    assert run_program(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_digits_are_learnt_in_less_than_a_minute(tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # the real digits
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would wait for each other where other processes want a core
    start = time.perf_counter()
    try:
        assert run_program(["train", "--data", "digits", "--out", str(tmp_path), "--json"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert json.loads(capsys.readouterr().out)["best"]["test_accuracy"] >= 0.98
    assert time.perf_counter() - start < 60
