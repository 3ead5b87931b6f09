"""Workers wake elsewhere than on their caller's core, and keep the cores that they may use."""

import os
import subprocess
import sys

import pytest

CORES = sorted(os.sched_getaffinity(0))

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="there is one core for all threads")

START = """
import os, sys, time, torch
from pathlib import Path
from torch import nn
from onebyone.compiler import compile_model

cores = sorted(os.sched_getaffinity(0))
network = nn.Sequential(nn.Conv2d(16, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)).eval()
x = torch.randn(1, 16, 64, 64)
expected = compile_model(network, x, threads=1)(x)  # starts all other threads that there will be

def tasks():
    return {int(name) for name in os.listdir("/proc/self/task")}

before = tasks()
compiled = compile_model(network, x, threads=2)
assert torch.equal(compiled(x), expected)
while len(tasks() - before) > 1:  # a thread that helped to compile may still be on its way out
    time.sleep(0.001)
(worker,) = tasks() - before

def state_of_worker():
    return Path(f"/proc/self/task/{worker}/stat").read_text().rpartition(")")[2].split()

def core_of_worker():
    return int(state_of_worker()[36])

def call():
    assert torch.equal(compiled(x), expected)
    while state_of_worker()[0] != "S":
        time.sleep(0.001)

def put_to_sleep_on(core):
    os.sched_setaffinity(worker, {core})
    call()
    assert core_of_worker() == core
"""

LEAVES = """
elsewhere = 0
for core in cores[:2] * 20:
    put_to_sleep_on(core)
    os.sched_setaffinity(worker, cores)
    os.sched_setaffinity(0, {core})
    call()
    elsewhere += core_of_worker() != core
    assert sorted(os.sched_getaffinity(worker)) == cores
print(elsewhere)
"""

STAYS = """
for core in cores[:2]:
    put_to_sleep_on(core)
    os.sched_setaffinity(0, {core})
    call()
    print(core_of_worker() == core, os.sched_getaffinity(worker) == {core})
"""


def run_script(script):
    done = subprocess.run(
        [sys.executable, "-c", START + script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_worker_that_sleeps_on_its_callers_core_wakes_on_another():
    """And may run on all of them again, so that a busy system may move it back now and then."""
    (elsewhere,) = run_script(LEAVES)
    assert int(elsewhere) > 30, "of 40"


def test_a_worker_with_one_core_stays_there():
    """Its set is somebody's wish, though the caller is on that core too."""
    assert run_script(STAYS) == ["True", "True"] * 2
