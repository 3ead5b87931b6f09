"""`onebyone train`: what it prints, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from onebyone.cli.program import run_program
from onebyone.models import find_model, load_model, open_photo, predict
from onebyone.training import by_name
from tests.helpers.photos import COFFEE
from tests.training.photos import write_class, write_folder
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


# A process of its own: what other tests have loaded into this one may listen to signals, too.
STOPPED = """
import os, signal, sys
from onebyone.cli.program import run_program
from onebyone.training import by_name
from tests.training.small import small_data

def ask(progress):
    if progress.step == 1:
        os.kill(os.getpid(), signal.SIGTERM)

whole = by_name.train_network
by_name.read_data = lambda name: small_data(train=64, name=name)
by_name.train_network = lambda *given, watch, **named: whole(*given, watch=ask, **named)
options = ["--epochs", "1", "--batch-size", "16"]
sys.exit(run_program(["train", "resnet20", "--out", sys.argv[1], *options]))
"""


def test_sigterm_ends_it_with_a_line(tmp_path):
    command = [sys.executable, "-c", STOPPED, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM behind step 2; the same command with --resume goes on" in done.stderr


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


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.undo()  # real data
    return write_folder(tmp_path / "photos")


def test_photos_are_learnt_measured_and_predicted(photos, tmp_path, capsys):
    out = tmp_path / "run"
    damaged = photos / "train" / "cat" / "000.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    data = ["--data", f"imagefolder:{photos}"]
    assert train(out, *data, "--workers", "2", "--json") == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        f"left out: {damaged} is damaged or cut short (Truncated File Read); get the file again"
    ]
    best = str(out / "best.safetensors")
    assert run_program(["train", "--evaluate", best, *data, "--workers", "0", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["count"] == 12
    assert score["accuracy"] == json.loads(printed.out)["best"]["test_accuracy"]
    _, card = load_model(best)
    assert card.classes == ("cat", "dog", "owl")
    assert card.preprocess == find_model("resnet20").preprocess
    write_class(photos / "val", "cow", [1])
    write_class(photos / "train", "cow", [2])
    assert run_program(["train", "--evaluate", best, *data]) == 2
    assert "a network that gives 4 scores for an image was wanted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("imagefolder:{}/train/cat", "photos/train/cat has no folders in it; two or more"),
        ("imagefolder", "imagefolder: what to read is missing; say imagefolder:DIR"),
        ("webdataset:{}.tar", "photos.tar: a shard (.tar) was wanted, and there is no such file"),
        ("webdataset:s3://bucket/a.tar", "s3://bucket/a.tar: shards must be files on this machine"),
        ("cifar10:{}", "data_batch_1.bin: a file of cifar-10-binary.tar.gz was wanted"),
        ("imagefolders:{}", "no data 'imagefolders'; did you mean 'imagefolder'?"),
    ],
)
def test_data_that_is_not_what_it_should_be_is_one_line(photos, tmp_path, capsys, data, message):
    assert train(tmp_path / "run", "--data", data.format(photos)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_too_many_damaged_photos_are_one_last_line(photos, tmp_path, capsys):
    for path in (photos / "train").glob("*/*"):
        path.write_bytes(b"no photo")
    assert train(tmp_path / "run", "--data", f"imagefolder:{photos}", "--workers", "1") == 2
    *named, last = capsys.readouterr().err.splitlines()
    assert len(named) == 5
    assert last.startswith(f"onebyone: imagefolder:{photos}: 21 of 21 photos cannot be read")


def test_ctrl_c_in_a_terminal_keeps_a_state_and_leaves_no_process(photos, tmp_path):
    """Ctrl-C goes to all processes of a terminal's group, workers included."""
    out = tmp_path / "run"
    command = ["train", "resnet20", "--data", f"imagefolder:{photos}", "--out", str(out)]
    command += ["--epochs", "10000", "--batch-size", "4", "--workers", "2"]
    child = subprocess.Popen(
        [sys.executable, "-m", "onebyone", *command],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        steps = out / "steps.csv"
        while child.poll() is None and not (steps.exists() and len(steps.read_text()) > 200):
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)
        _, error = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 128 + signal.SIGINT
    assert len(error.splitlines()) == 1
    assert "stopped by SIGINT behind step" in error
    assert (out / "state.safetensors").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)
