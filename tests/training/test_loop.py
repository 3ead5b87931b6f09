"""The loop: what a resume, several processes, a signal and a loss that is no number come to."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from onebyone.errors import ShapeError, TrainingError
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import evaluate
from onebyone.training.loop import train_network
from onebyone.training.plan import seed_of
from onebyone.training.state import STATE_FILE, read_state
from tests.training import kill
from tests.training.small import SmallNet, recipe, small_data


def interrupt_at(step):
    def watch(progress):
        if progress.step == step and progress.row is None:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def same_rows(ours, theirs):
    def timeless(row):
        return replace(row, seconds=0.0, images_per_second=0.0)

    return [timeless(r) for r in ours.epochs] == [timeless(r) for r in theirs.epochs]


def test_it_learns_and_leaves_the_network_that_it_was_given(tmp_path):
    network = SmallNet()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    whole = recipe(epochs=8, learning_rate=0.2, ema_decay=0.0)
    result = train_network(network, small_data(), whole, tmp_path)
    assert result.best.test_accuracy > 0.9
    assert result.epochs[-1].train_loss < 0.5 * result.epochs[0].train_loss
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
    assert not result.network.training


# In the middle of an epoch, at its last step, at the next one's first, and before the end.
@pytest.mark.parametrize("step", [1, 4, 6, 7, 17])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, step, optimizer):
    whole = recipe(optimizer=optimizer, learning_rate=0.01)
    straight = train_network(SmallNet(), small_data(), whole, tmp_path / "straight")
    stopped = train_network(
        SmallNet(), small_data(), whole, tmp_path / "cut", watch=interrupt_at(step)
    )
    assert stopped.signal == signal.SIGTERM
    assert len(stopped.steps) in (step, step + 1)  # the signal is seen at the next step's end
    resumed = train_network(SmallNet(), small_data(), whole, tmp_path / "cut", resume=True)
    assert resumed.signal == 0
    assert resumed.steps == straight.steps
    assert same_rows(resumed, straight)
    assert kill.results(tmp_path / "cut") == kill.results(tmp_path / "straight")


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    first = train_network(SmallNet(), small_data(), recipe(), tmp_path)
    again = train_network(SmallNet(), small_data(), recipe(), tmp_path, resume=True)
    assert again.steps == first.steps
    assert again.epochs == first.epochs


def test_killed_runs_lose_nothing():
    assert kill.kill_often(2, seed=1) >= 1


@pytest.fixture
def heard():
    """Let Ctrl-C be heard, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_twice_ends_it_at_once(tmp_path):
    def watch(_):
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)

    def impatient(progress):
        watch(progress)
        watch(progress)

    with pytest.raises(KeyboardInterrupt):
        train_network(SmallNet(), small_data(), recipe(), tmp_path, watch=impatient)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_seed_decides():
    def losses(seed):
        result = train_network(SmallNet(), small_data(), recipe(epochs=1), seed=seed)
        return [row.loss for row in result.steps]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_the_users_random_numbers_are_left_alone():
    network = SmallNet()  # seeds
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_network(network, small_data(), recipe(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_seeds_of_steps_differ():
    mixed = {
        seed_of(s, step, rank) for s in range(5) for step in range(-1, 50) for rank in range(4)
    }
    assert len(mixed) == 5 * 51 * 4


def several(devices):
    command = [sys.executable, "-m", "tests.training.several", str(devices)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode and "gloo" in done.stderr and "bind" in done.stderr:
        pytest.skip("two processes cannot meet here: " + done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_processes_do_what_one_does_with_the_whole_batch():
    one, two = several(1), several(2)
    assert (one["world"], two["world"]) == (1, 2)
    # The same sums in another order: float32's rounding over 18 steps, and no more.
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    np.testing.assert_allclose(two["test"], one["test"], rtol=1e-4)
    for ours, theirs in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


class Explosive(SmallNet):
    """Give no number at the fifth training step."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        if self.training:
            self.calls += 1
        return super().forward(x) * (torch.nan if self.calls == 5 and self.training else 1)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_state(tmp_path):
    with pytest.raises(TrainingError, match=r"^the loss is nan at step 5 \(epoch 1\); .*--lr"):
        train_network(Explosive(), small_data(), recipe(), tmp_path, save_seconds=0.0)
    state = read_state(tmp_path / STATE_FILE)
    assert state.step == 4
    assert all(t.isfinite().all() for t in state.tensors.values())


def test_another_run_in_the_folder_is_not_written_over(tmp_path):
    train_network(SmallNet(), small_data(), recipe(epochs=1), tmp_path)
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(TrainingError, match="holds a run already; go on with it by --resume"):
        train_network(SmallNet(), small_data(), recipe(epochs=1), tmp_path)
    for changed, what in (
        ({"recipe": recipe(epochs=2)}, r"recipe\.epochs 1, and 2 was asked for"),
        ({"data": small_data(name="other")}, "data 'small', and 'other'"),
        ({"seed": 3}, "seed 0, and 3"),
        ({"network": SmallNet(norm=False)}, "trains another network: tensors .* bn1"),
    ):
        asked = {"network": SmallNet(), "data": small_data(), "recipe": recipe(epochs=1)} | changed
        with pytest.raises(TrainingError, match=what):
            train_network(**asked, out=tmp_path, resume=True)
    assert (tmp_path / STATE_FILE).read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="^cannot write .*/file/out .*name a folder"):
        train_network(SmallNet(), small_data(), recipe(), tmp_path / "file" / "out")


def test_a_full_disk_leaves_the_state_from_before(tmp_path):
    script = (
        "import resource\n"
        "from onebyone.errors import TrainingError\n"
        "from onebyone.training.loop import train_network\n"
        "from tests.training.small import *\n"
        "def full(p):\n"
        "    if p.step == 4: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, -1))\n"
        "try:\n"
        f"    train_network(SmallNet(), small_data(), recipe(), {str(tmp_path)!r},\n"
        "        save_seconds=0.0, watch=full)\n"
        "except TrainingError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(f"cannot write {tmp_path}/{STATE_FILE}"), done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert read_state(tmp_path / STATE_FILE).step == 3
    assert not list(tmp_path.glob(".*"))


def test_a_network_of_other_classes_is_refused():
    with pytest.raises(ShapeError, match=r"gives 4 scores for an image was wanted.*gives \(1, 7\)"):
        train_network(SmallNet(classes=7), small_data(), recipe())
    with pytest.raises(ShapeError, match="cannot see images of 1 x 8 x 8"):
        train_network(SmallNet(channels=3), small_data(), recipe())


def test_metrics_are_whole(tmp_path):
    result = train_network(SmallNet(), small_data(), recipe(), tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test_loss"]) for row in rows] == [row.test_loss for row in result.epochs]
    with (tmp_path / "steps.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in steps] == [row.loss for row in result.steps]
    assert [int(row["step"]) for row in steps] == list(range(1, 19))
    for row in result.epochs:
        taken = [step.loss for step in result.steps if step.epoch == row.epoch]
        assert row.train_loss == pytest.approx(np.mean(taken))
    assert (tmp_path / "curves.svg").read_text().startswith("<svg")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_score_is_that_of_float64():
    data, network = small_data(test=53), SmallNet().eval()
    score = evaluate(network, data.test, make_engine(), batch_size=16)
    scores = network.double()(data.test.images.double())
    loss = nn.functional.cross_entropy(scores, data.test.targets)
    assert score.count == 53
    assert score.loss == pytest.approx(loss.item(), rel=1e-5)
    correct = (scores.argmax(1) == data.test.targets).sum().item()
    assert score.accuracy == correct / 53


def test_a_batch_may_be_larger_than_the_data():
    result = train_network(SmallNet(), small_data(train=10), recipe(batch_size=64, epochs=2))
    assert [row.step for row in result.epochs] == [1, 2]
