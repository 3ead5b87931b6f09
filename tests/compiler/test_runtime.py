"""Threads, processes and memory of native calls."""

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from onebyone.compiler import compile_model
from onebyone.compiler.runtime import pool
from onebyone.errors import CompileError
from onebyone.models import create_model
from tests.compiler.every_kind import EveryKind
from tests.compiler.test_model import Small

IMAGE = (3, 9, 7)


@pytest.fixture(scope="module")
def network():
    return Small().eval()


def tiny(threads=2):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    return network, compile_model(network, torch.zeros(1, 3, 2, 2), threads=threads)


@pytest.mark.parametrize(
    ("build", "image"),
    [
        (lambda: create_model("mobilenet_v2"), (3, 64, 64)),
        (lambda: create_model("googlenet"), (3, 64, 64)),
        (lambda: EveryKind().eval(), (3, 17, 15)),
    ],
    ids=["mobilenet_v2", "googlenet", "every_kind"],
)
def test_results_are_the_same_bits_for_any_number_of_threads_and_any_batch(build, image):
    network = build()
    x = torch.randn(4, *image)
    whole = outputs(compile_model(network, x, threads=1), x)
    for threads in (2, 3):
        assert all(map(torch.equal, outputs(compile_model(network, x, threads=threads), x), whole))
    single = compile_model(network, x[:1], threads=2)
    each = zip(*(outputs(single, x[i : i + 1]) for i in range(4)), strict=True)
    assert all(map(torch.equal, map(torch.cat, each), whole))


def outputs(compiled, x):
    """What a call gives, as a tuple."""
    result = compiled(x)
    return (result,) if isinstance(result, torch.Tensor) else result


@pytest.mark.parametrize("threads", [1, 2])
def test_many_callers_at_once(network, threads):
    compiled = compile_model(network, torch.zeros(1, *IMAGE), threads=threads)
    images = torch.randn(64, 1, *IMAGE)
    expected = [compiled(image) for image in images]
    with ThreadPoolExecutor(8) as callers:
        for _ in range(10):
            for got, wanted in zip(callers.map(compiled, images), expected, strict=True):
                assert torch.equal(got, wanted)


def test_several_models_with_several_numbers_of_threads_at_once(network):
    x = torch.randn(2, *IMAGE)
    models = [compile_model(network, x[:n], threads=t) for n in (1, 2) for t in (1, 2, 3)]
    expected = [model(x[: 1 + i // 3]) for i, model in enumerate(models)]

    def call(index):
        model = index % len(models)
        return torch.equal(models[model](x[: 1 + model // 3]), expected[model])

    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(call, range(600)))


def test_models_come_and_go_while_others_run(network):
    """Their memory is not given back before the last worker has left it."""
    x = torch.randn(1, *IMAGE)
    compiled = compile_model(network, x, threads=2)
    expected = compiled(x)
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            passing = compile_model(network, x, threads=2)
            assert torch.equal(passing(x), expected)
            del passing

    thread = threading.Thread(target=churn)
    thread.start()
    for _ in range(2000):
        assert torch.equal(compiled(x), expected)
    stop.set()
    thread.join()


def test_garbage_that_is_found_during_a_call_does_not_block_it(network):
    """A model in a cycle dies where Python collects garbage, maybe in the middle of a call."""
    compiled = compile_model(network, torch.zeros(1, *IMAGE), threads=2)
    compiled(torch.zeros(1, *IMAGE))
    started = pool.pool_of(2)

    def call():
        with started.lock:  # where a call holds it
            cycle = [compile_model(network, torch.zeros(1, *IMAGE), threads=2)]
            cycle.append(cycle)
            del cycle
            gc.collect()

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(timeout=20)
    assert not caller.is_alive()


MEMORY = """
import gc, torch
from pathlib import Path
from torch import nn
from onebyone.compiler import compile_model

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def growth(use, warm_up, count):
    for _ in range(warm_up):
        use()
    before = resident_bytes()
    for _ in range(count):
        use()
    return resident_bytes() - before

x = torch.randn(1, 3, 2, 2)
tiny = compile_model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval(), x, threads=2)
print(growth(lambda: tiny(x), 1000, 10_000))

network = nn.Conv2d(16, 16, 3, padding=1).eval()
image = torch.randn(1, 16, 512, 512)  # 16 MiB; the arena is twice that

def pass_by():
    compile_model(network, image, threads=2)(image)
    gc.collect()

print(growth(pass_by, 8, 24))
"""


def test_memory_stays_where_it_is():
    """In a process of its own, where nobody else takes or gives any."""
    done = run_script(MEMORY)
    calls, models = map(int, done.stdout.split())
    assert calls < 2 << 20
    assert models < 128 << 20, "kept code, among what is freed, would be 300 MiB; arenas 800 MiB"


def run_script(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_workers_sleep_between_calls():
    _, compiled = tiny()
    x = torch.randn(1, 3, 2, 2)
    for _ in range(100):
        compiled(x)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02


FORK = """
import os, torch
from torch import nn
from onebyone.compiler import compile_model
network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.ReLU(), nn.Conv2d(40, 8, 1)).eval()
x = torch.randn(2, 3, 20, 20)
compiled = compile_model(network, x, threads=2)
expected = compiled(x)
for generation in range(3):
    child = os.fork()
    if child == 0:
        same = all(torch.equal(compiled(x), expected) for _ in range(100))
        other = compile_model(network, x, threads=3)
        os._exit(0 if same and torch.equal(other(x), expected) else 1)
    assert all(torch.equal(compiled(x), expected) for _ in range(100))
    _, status = os.waitpid(child, 0)
    assert status == 0, status
print("all is well")
"""


def test_a_forked_child_and_its_parent_can_both_call():
    assert run_script(FORK).stdout == "all is well\n"


def test_a_process_ends_though_its_workers_wait():
    assert run_script(FORK.partition("for generation")[0] + "print('done')").stdout == "done\n"


def test_no_thread_to_be_had_is_an_error_that_says_so(monkeypatch):
    class Refusing:
        @staticmethod
        def pthread_create(*_):
            return 11  # EAGAIN

    monkeypatch.setattr("ctypes.CDLL", lambda _: Refusing)
    with pytest.raises(CompileError, match="fewer `threads`"):
        pool.Pool(2)
