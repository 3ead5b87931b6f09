"""What was measured is kept, and looked up by what it depends on."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from onebyone.compiler import compile_model
from onebyone.compiler.machine import calibrate as module
from onebyone.compiler.machine import measure
from onebyone.compiler.machine.calibrate import (
    BUSY_SECONDS,
    calibrate,
    calibrated_target,
    find_calibration,
)
from onebyone.compiler.machine.speeds import NOMINAL, Calibration
from onebyone.compiler.processor import private_cache_bytes
from onebyone.compiler.target import host_target


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    # Other tests go on with what was measured before.
    fresh = functools.cache(module._calibrated_target.__wrapped__)
    monkeypatch.setattr(module, "_calibrated_target", fresh)
    return tmp_path / "cache"


@pytest.fixture
def measured(monkeypatch):
    """Says how often the machine was measured; `busy` makes it so."""

    class Measured:
        times = 0
        spread = 0.0
        age = 0.0

        def __call__(self, target, cores):
            self.times += 1
            speeds = replace(NOMINAL, cores=cores, steps_per_second=1e9 * self.times)
            at = time.time() - self.age
            return Calibration(speeds=speeds, spread=self.spread, measured_at=at)

    measured = Measured()
    monkeypatch.setattr(measure, "measure_speeds", measured)
    return measured


def forget():
    """As a new process does."""
    module._calibrated_target.cache_clear()


def test_it_is_measured_once_and_kept(measured):
    first = calibrated_target()
    forget()
    assert calibrated_target() == first
    assert measured.times == 1
    assert first.speeds == find_calibration(host_target()).speeds
    assert replace(first, speeds=NOMINAL, level2_bytes=0) == replace(host_target(), level2_bytes=0)


def test_what_is_kept_can_be_read(measured, folder):
    calibrate(host_target())
    for path in folder.iterdir():
        assert '"steps_per_second": 1000000000.0' in path.read_text()


def test_a_damaged_file_is_measured_again(measured, folder):
    calibrate(host_target())
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"steps", b"sheep"))
    assert find_calibration(host_target()) is None
    calibrated_target()
    assert measured.times == 2


def test_another_machine_is_measured_anew(measured, monkeypatch):
    calibrated_target()
    forget()
    monkeypatch.setattr(module, "private_cache_bytes", lambda: 12345678)
    assert calibrated_target().speeds.steps_per_second == 2e9
    assert measured.times == 2


def test_what_one_core_does_is_the_same_for_any_number_of_cores(measured, monkeypatch):
    """It decides the algorithm, and so the bits."""
    one = calibrated_target().speeds
    forget()
    monkeypatch.setattr(module, "usable_cores", lambda: 7)
    other = calibrated_target().speeds
    assert measured.times == 2
    assert other.cores == 7
    assert other.of_one_core == one.of_one_core
    forget()
    assert calibrate(host_target(), again=True).speeds.steps_per_second == 3e9


def test_a_child_that_is_forked_meanwhile_does_not_wait(measured):
    with module._measuring:
        child = os.fork()
        if not child:
            signal.alarm(10)
            calibrated_target()
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert status == 0


def test_a_machine_is_looked_up_without_llvm():
    code = (
        "import sys, onebyone.compiler.machine.calibrate as c; c.find_calibration(c.host_target());"
        "print(any(name.startswith('llvmlite') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_machine_that_was_busy_is_measured_again_after_a_while(measured):
    measured.spread = 0.5
    calibrated_target()
    forget()
    calibrated_target()
    assert measured.times == 1
    measured.age = BUSY_SECONDS + 1
    calibrate(host_target())
    forget()
    calibrated_target()
    assert measured.times == 3


def test_without_a_folder_it_is_measured_in_each_process(measured, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", "/proc/none")
    calibrated_target()
    calibrated_target()
    assert measured.times == 1


@pytest.mark.parametrize("error", [MemoryError, RuntimeError("can't start new thread")])
def test_a_machine_that_cannot_be_measured_is_taken_for_a_common_one(monkeypatch, error):
    def fail(target, cores):
        raise error

    monkeypatch.setattr(measure, "measure_speeds", fail)
    assert calibrated_target().speeds == NOMINAL


def test_two_threads_measure_once(measured):
    threads = [threading.Thread(target=calibrated_target) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert measured.times == 1


def test_networks_are_compiled_for_the_calibrated_machine(measured):
    import torch

    network = torch.nn.Conv2d(3, 4, 1).eval()
    assert compile_model(network, torch.zeros(1, 3, 5, 5)).target == calibrated_target()


def write_cache(folder, name, level, size):
    (folder / name).mkdir()
    (folder / name / "level").write_text(f"{level}\n")
    (folder / name / "size").write_text(f"{size}\n")


def test_the_second_cache_is_what_linux_says(tmp_path):
    assert private_cache_bytes(tmp_path) is None
    write_cache(tmp_path, "index0", 1, "48K")
    assert private_cache_bytes(tmp_path) is None
    write_cache(tmp_path, "index2", 2, "1024K")
    write_cache(tmp_path, "index3", 3, "32M")
    assert private_cache_bytes(tmp_path) == 1 << 20


def test_a_size_that_nobody_understands_is_left_alone(tmp_path):
    write_cache(tmp_path, "index2", 2, "large")
    assert private_cache_bytes(tmp_path) is None
    write_cache(tmp_path, "index3", 2, "2M")
    assert private_cache_bytes(tmp_path) == 2 << 20
