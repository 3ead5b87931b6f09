"""How fast this machine is: what the loops do, and what is made of their times."""

import ctypes
import os

import pytest
import torch

from onebyone.compiler.machine import measure
from onebyone.compiler.machine.loops import ACCUMULATORS, load_loops
from onebyone.compiler.machine.measure import measure_speeds
from onebyone.compiler.target import TARGETS, can_run, host_target

RUNNABLE = [target for target in TARGETS.values() if can_run(target)]


@pytest.fixture(params=RUNNABLE, ids=lambda target: target.name)
def target(request):
    return request.param


def test_a_loop_multiplies_and_adds_so_often(target):
    loops = load_loops(target)
    numbers = torch.zeros(target.lanes)
    loops.multiply(numbers.data_ptr(), 3, 2)
    # s -> (s + 1) / 2, six times, from 1, 2, ...
    expected = sum(1.0 + start / 2**6 for start in range(ACCUMULATORS))
    assert numbers.tolist() == pytest.approx([expected] * target.lanes)


def test_a_loop_reads_all_numbers_each_time(target):
    loops = load_loops(target)
    numbers = torch.randint(0, 9, (64 * target.lanes,)).float()
    expected = sum(range(1, ACCUMULATORS + 1)) + 2 * numbers.view(-1, target.lanes).sum(0)
    loops.read(numbers.data_ptr(), numbers.numel(), 2)
    assert torch.equal(numbers[: target.lanes], expected)


def test_a_loop_writes_all_numbers_and_then_its_sum(target):
    loops = load_loops(target)
    numbers = torch.ones(64 * target.lanes)
    loops.write(numbers.data_ptr(), numbers.numel(), 1)
    assert torch.equal(numbers[target.lanes :], torch.zeros(63 * target.lanes))


def test_one_thread_waits_for_nobody(target):
    word, loops = ctypes.c_int64(0), load_loops(target)
    assert loops.meet(ctypes.addressof(word), 1, 7) == 7
    assert word.value == 7


def test_who_waits_in_vain_gives_up(target):
    word, loops = ctypes.c_int64(0), load_loops(target)
    assert loops.meet(ctypes.addressof(word), 2, 7) == 0


@pytest.mark.parametrize("cores", [1, 2])
def test_this_machine_is_a_machine(cores, monkeypatch):
    monkeypatch.setattr(measure, "TRIES", 1)
    found = measure_speeds(host_target(), cores).speeds
    assert 1e8 < found.steps_per_second < 1e11
    assert found.cores == cores
    sizes = [one.size_bytes for one in found.readings]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 128 << 20
    assert all(cores * one.size_bytes <= 128 << 20 for one in found.all_readings)
    assert all(1e8 < one.bytes_per_second < 1e13 for one in found.readings)
    assert 0 < found.wait_seconds < 0.01
    assert 1e7 < found.handed_bytes_per_second < 1e13


class Machine:
    """Does as it is told: the rate of multiply-adds of each round."""

    def __init__(self, monkeypatch, *rates):
        self.rounds = iter(rates)
        self.slept = []
        monkeypatch.setattr(measure, "load_loops", lambda target: None)
        monkeypatch.setattr(measure, "MOST_BYTES", 1 << 20)
        monkeypatch.setattr(measure, "SIZES", (1 << 18,))
        monkeypatch.setattr(measure, "_jobs", lambda loops, address, cores: self.jobs())

    def jobs(self):
        others = ("all multiply", "meet", "handed", "read 262144", "all read 262144")
        return {"multiply": lambda: next(self.rounds)} | dict.fromkeys(others, lambda: 1e9)

    def measure(self):
        return measure_speeds(host_target(), 1, sleep=self.slept.append)


def test_a_quiet_machine_is_measured_once(monkeypatch):
    machine = Machine(monkeypatch, 4e9, 3.9e9, 4e9, 4.1e9, 3e9)
    found = machine.measure()
    assert found.is_steady
    assert found.speeds.steps_per_second == 4.1e9
    assert found.spread == pytest.approx(4.1 / 4 - 1)
    assert machine.slept == []


def test_numbers_that_were_handed_over_on_one_core_do_not_count(monkeypatch):
    machine = Machine(monkeypatch, *[4e9] * measure.ROUNDS)
    handed = iter([20e9, 183e9, 19e9, 21e9, 180e9])
    jobs = machine.jobs() | {"handed": lambda: next(handed)}
    monkeypatch.setattr(machine, "jobs", lambda: jobs)
    assert machine.measure().speeds.handed_bytes_per_second == 21e9


def test_each_of_the_threads_that_are_measured_together_has_a_core_of_its_own():
    usable = os.sched_getaffinity(0)
    if len(usable) < 2:
        pytest.skip("needs two cores")
    seen = []
    for _ in range(20):
        measure._side_by_side([lambda: seen.append(os.sched_getaffinity(0))] * 2)
    first, last = {min(usable)}, {max(usable)}
    assert sorted(seen, key=min) == [first] * 20 + [last] * 20
    assert os.sched_getaffinity(0) == usable


def test_more_threads_than_cores_are_placed_by_the_system():
    usable = os.sched_getaffinity(0)
    seen = []
    measure._side_by_side([lambda: seen.append(os.sched_getaffinity(0))] * (len(usable) + 1))
    assert seen == [usable] * (len(usable) + 1)


def test_a_busy_machine_is_measured_again_and_its_best_counts(monkeypatch):
    machine = Machine(monkeypatch, 4e9, 2e9, 2e9, 1e9, 2e9, *[3.9e9] * 5, 4.2e9, *[3.9e9] * 4)
    found = machine.measure()
    assert found.is_steady
    assert found.speeds.steps_per_second == 4e9
    assert len(machine.slept) == 1


def test_a_machine_that_stays_busy_is_said_to_be(monkeypatch):
    machine = Machine(monkeypatch, 4e9, *[2e9] * 14)
    found = machine.measure()
    assert not found.is_steady
    assert found.spread == 1.0
    assert len(machine.slept) == measure.TRIES - 1


def test_a_loop_multiplies_bfloat16_if_the_target_does(target):
    loops = load_loops(target)
    numbers = torch.zeros(target.lanes)
    if loops.multiply_bf16:
        loops.multiply_bf16(numbers.data_ptr(), 3, 2)
    assert bool(loops.bf16_macs) == bool(loops.multiply_bf16) == bool(target.bf16)
    speeds = measure_speeds(target, 1, sleep=lambda _: None).speeds
    assert bool(speeds.bf16_macs_per_second) == bool(target.bf16)
    # Sums of products of 2 * 16 numbers in a vector, or of 4 * 16 * 16 * 32 in tiles.
    assert loops.bf16_macs in (0, 2 * ACCUMULATORS * target.lanes, 1 << 15)
