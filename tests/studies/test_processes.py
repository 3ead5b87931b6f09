"""Programs that are run beside us, and do not outlast us."""

import os
import signal
import subprocess
import sys

import pytest

from onebyone.errors import TrainingError
from onebyone.studies.processes import Task, run_tasks
from tests.helpers.programs import is_alive, wait_until

CHILD = "tests.studies.child"


def is_written(path):
    return path.exists() and path.read_text()


def test_all_are_run_on_one_thread_each_and_given_when_done(tmp_path):
    tasks = [Task(str(n), CHILD, ("write", str(tmp_path / str(n)))) for n in range(4)]
    done = [task.name for task in run_tasks(tasks, jobs=3)]
    assert sorted(done) == ["0", "1", "2", "3"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"1"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("fail", "the trial t failed: the disk is full; those that are done are kept, and the "),
        ("mute", "the trial t failed: it ended with status 3; "),
        ("die", "the trial t failed: it was killed by SIGKILL, which is also what happens when "),
    ],
)
def test_one_that_fails_says_how(what, message):
    with pytest.raises(TrainingError) as caught:
        list(run_tasks([Task("t", CHILD, (what,))], jobs=1))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_when_the_iteration_ends_early_so_do_they(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    tasks = [
        Task("long", CHILD, ("wait", str(second))),
        Task("short", CHILD, ("write", str(first))),
    ]
    running = run_tasks(tasks, jobs=2)
    assert next(running).name == "short"
    wait_until(lambda: is_written(second))
    pid = int(second.read_text())
    assert is_alive(pid)
    running.close()
    assert not is_alive(pid)


def test_they_end_when_their_parent_is_killed(tmp_path):
    path = tmp_path / "pid"
    script = (
        "from onebyone.studies.processes import *\n"
        f"list(run_tasks([Task('t', {CHILD!r}, ('wait', {str(path)!r}))], jobs=1))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: is_written(path))
    pid = int(path.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not is_alive(pid))
