"""A fork waits until no thread is where a child could not go on."""

import os
import subprocess
import sys
import threading

from onebyone.compiler.fork import whole
from onebyone.compiler.jit import _discard, _unused

BUSY = """
import os, signal, threading, time
import torch
from torch import nn
from onebyone.compiler import compile_model

torch.set_num_threads(1)
x = torch.randn(1, 3, 20, 20)

def network(channels):
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 8, 1)).eval()

def compile_on():
    for channels in range(10, 1000):
        compile_model(network(channels), x, threads=2)

threading.Thread(target=compile_on, daemon=True).start()
children = []
for number in range(8):  # the first ones while modules are imported for the first time
    time.sleep(0.05 * number)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        mine = network(5)
        with torch.no_grad():
            same = torch.allclose(compile_model(mine, x, threads=2)(x), mine(x), atol=1e-5)
        os._exit(0 if same else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], flush=True)
os._exit(0)
"""


def test_children_of_a_process_that_compiles_can_compile():
    done = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == f"{[0] * 8}\n", done.stderr


def test_a_fork_waits_for_who_must_not_be_cut_in_two():
    inside, go_on = threading.Event(), threading.Event()
    seen = []

    def be_inside():
        with whole:
            inside.set()
            go_on.wait(0.2)
            seen.append("done")

    thread = threading.Thread(target=be_inside)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        with whole:
            os._exit(0 if seen == ["done"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
    assert whole.acquire(blocking=False)
    whole.release()


class Engine:
    """What stands for machine code."""

    closed = False

    def close(self):
        self.closed = True


def test_code_that_goes_away_waits_for_nobody():
    engine, inside, go_on = Engine(), threading.Event(), threading.Event()

    def be_inside():
        with whole:
            inside.set()
            go_on.wait(20)

    thread = threading.Thread(target=be_inside)
    thread.start()
    inside.wait()
    _discard(engine)
    assert not engine.closed
    go_on.set()
    thread.join()
    later = Engine()
    _discard(later)
    assert engine.closed
    assert later.closed
    assert not _unused
