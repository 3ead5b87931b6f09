"""Engines that do what the tests want, found by name in processes of their own."""

import copy
import os
import signal
import threading
import time
from functools import partial

import torch

from onebyone.bench import OURS, Engine

READY_CALLS = 1 + 3
"""What a process makes of itself: the call that is checked, and those that warm up."""


def find(name, numerics="fp32"):
    """An engine that is exact but for what its name says; its remark is its process."""
    build = BUILDS[name] if name in BUILDS else partial(exact, seconds=SECONDS[name])
    if numerics == "bf16":
        build = partial(halved, build)
    return Engine(name, build, lambda runner: f"pid {os.getpid()}", numerics)


def exact(model, example, threads, *, seconds=0.001):
    assert threads == torch.get_num_threads() == 1
    print("noise of an engine")  # noqa: T201

    def run(images):
        time.sleep(seconds)
        with torch.no_grad():
            return model(images)

    return run


def halved(build, model, example, threads):
    """In half the time, with a bfloat16's digits."""
    build = partial(build, seconds=build.keywords["seconds"] / 2)
    run = build(copy.deepcopy(model).bfloat16(), example, threads)
    return lambda images: run(images.bfloat16()).float()


def wrong(model, example, threads):
    run = exact(model, example, threads)
    return lambda images: 2 * run(images)


def dies(model, example, threads):
    os._exit(3)


def spins(model, example, threads):
    def spin():
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()
    return exact(model, example, threads)


def later(end, model, example, threads):
    """Its first call in a round ends it."""
    run, calls = exact(model, example, threads), []

    def call(images):
        calls.append(1)
        if len(calls) > READY_CALLS:
            end()
        return run(images)

    return call


def fail():
    raise ValueError("at run time\nline 2")


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


SECONDS = {OURS: 0.002, "peer": 0.006}
BUILDS = {
    "wrong": wrong,
    "dies": dies,
    "spins": spins,
    "fails later": partial(later, fail),
    "killed": partial(later, be_killed),
}
