"""Engines in processes of their own: those that are well, those that are not, and their ends."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from onebyone.bench import (
    OURS,
    IsolatedComparison,
    IsolatedResult,
    RatioSpread,
    Spread,
    Turn,
    compare_isolated,
    load_subject,
    pairwise_ratio,
    ratio_spread,
)
from onebyone.bench.crew import open_crew
from onebyone.bench.isolated import NEVER_SLEEPS, _ratios
from onebyone.bench.table import render
from onebyone.bench.worker import Order
from onebyone.errors import EngineError
from tests.bench.planted import find
from tests.helpers.programs import is_alive, wait_until

NETWORK = """
import os, time
from pathlib import Path

import torch
from torch import nn


def make():
    print("noise of a file")
    torch.seed()  # weights of its own in every process
    return nn.Sequential(nn.Conv2d(3, 4, 9, stride=9), nn.BatchNorm2d(4), nn.Flatten()).eval()


def hang():
    if not (marker := Path("pid")).exists():
        marker.touch()
        return make()
    print("noise of a process", flush=True)
    marker.write_text(str(os.getpid()))
    time.sleep(60)
"""
PEERS = ["peer", "wrong", "dies", "fails later", "killed", "spins"]
QUICK = Turn(loop_calls=3, loop_seconds=0.03, pause_seconds=0.01, burst_calls=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "network.py"
    path.write_text(NETWORK)
    return f"{path}:make"


@pytest.fixture(scope="module")
def subject(model):
    return load_subject(model)


@pytest.fixture(scope="module")
def comparison(subject):
    """What becomes of all kinds of engines; it takes ten seconds, and several tests look at it."""
    engines = [find(name) for name in (OURS, *PEERS)]
    return compare_isolated(subject, engines, batch=1, threads=1, rounds=2, turn=QUICK, find=find)


def pids(comparison):
    return [int(remark.split()[1].strip(";")) for remark in comparison.remarks.values()]


def printed(comparison):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(render(comparison), crop=False)
    return console.export_text()


def test_engines_that_end_or_fail_are_absent_with_the_reason_and_the_others_go_on(comparison):
    assert comparison.absent == {
        "dies": "its process ended with status 3",
        "fails later": "ValueError: at run time",
        "killed": "its process was killed by SIGKILL, which is also what happens when memory gives "
        "out",
    }
    assert list(comparison.engines) == [OURS, "peer", "wrong", "spins"]
    assert set(comparison.remarks) == set(comparison.engines)


def test_each_engine_has_the_same_weights_in_a_process_of_its_own(comparison):
    """A file draws its weights anew in every process; an output would be wrong with others."""
    assert len({os.getpid(), *pids(comparison)}) == 1 + len(comparison.engines)
    for name, result in comparison.engines.items():
        assert result.is_right is (name != "wrong")
    assert comparison.engines["wrong"].relative_rms == pytest.approx(1.0, rel=1e-3)
    assert 0 < comparison.engines["peer"].relative_rms < 1e-6


def test_loops_and_bursts_are_timed_and_right_peers_have_ratios(comparison):
    peer = comparison.engines["peer"]
    assert 0.006 < peer.loop.p10_seconds <= peer.loop.median_seconds < 0.03
    assert 0.006 < peer.burst.median_seconds < 0.03
    for ratios in (comparison.loop_ratios, comparison.burst_ratios):
        assert set(ratios) == {"peer", "spins"}
        assert 1.0 < ratios["peer"].p10 <= ratios["peer"].median <= ratios["peer"].p90


def test_an_engine_whose_threads_spin_for_ever_is_told_on(comparison):
    told = [name for name, remark in comparison.remarks.items() if NEVER_SLEEPS in remark]
    assert told == ["spins"]


def test_no_process_is_left(comparison):
    assert not any(map(is_alive, pids(comparison)))
    assert multiprocessing.active_children() == []


def test_the_json_is_as_promised(comparison, model):
    content = comparison.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert list(content) == [
        "isolated",
        "model",
        "batch",
        "threads",
        "rounds",
        "engines",
        "loop_ratios",
        "burst_ratios",
        "absent",
        "remarks",
    ]
    assert (content["isolated"], content["model"], content["rounds"]) == (True, model, 2)
    assert list(content["engines"]["peer"]) == ["loop", "burst", "relative_rms"]
    assert list(content["engines"]["peer"]["burst"]) == [
        "median_seconds",
        "p10_seconds",
        "p90_seconds",
    ]
    assert list(content["loop_ratios"]["peer"]) == ["median", "p10", "p90"]


def test_if_ours_is_gone_there_are_no_ratios():
    assert _ratios({"peer": result(0.01)}, {"peer": [0.01]}, OURS) == {}
    assert _ratios({OURS: result(0.01, 1.0), "peer": result(0.01)}, {}, OURS) == {}


def result(seconds, error=1e-6):
    spread = Spread(seconds, seconds, seconds)
    return IsolatedResult(loop=spread, burst=spread, relative_rms=error)


def test_numerics_reach_the_processes_and_ratios_are_to_ours_in_bfloat16(subject):
    engines = [find(OURS), find(OURS, "bf16"), find("peer"), find("peer", "bf16")]
    comparison = compare_isolated(
        subject, engines, batch=1, threads=1, rounds=2, numerics="bf16", turn=QUICK, find=find
    )
    labels = [OURS, f"{OURS} bf16", "peer", "peer bf16"]
    assert list(comparison.engines) == labels
    assert len(set(pids(comparison))) == len(labels)
    for name, result in comparison.engines.items():
        in_bfloat16 = name.endswith(" bf16")
        assert result.numerics == ("bf16" if in_bfloat16 else "fp32")
        assert (1e-3 < result.relative_rms < 1e-2) is in_bfloat16
        assert result.is_right
    for ratios in (comparison.loop_ratios, comparison.burst_ratios):
        assert set(ratios) == set(labels) - {f"{OURS} bf16"}
        assert 1.0 < ratios[OURS].median < ratios["peer"].median
    content = comparison.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["numerics"] == content["engines"]["peer bf16"]["numerics"] == "bf16"
    assert "numerics" not in content["engines"]["peer"]
    text = printed(comparison)
    assert max(map(len, text.splitlines())) <= 100
    assert "loop / ours bf16" in text
    assert "burst / ours bf16" in text


def test_the_table_is_sorted_by_the_loop_and_narrow():
    wide = RatioSpread(123.456, 99.99, 123.456)
    comparison = IsolatedComparison(
        model="tiny",
        batch=1,
        threads=2,
        rounds=20,
        engines={
            OURS: result(10.0),
            "slow": result(99.0),
            "[b]": result(5.0),
            "onnxruntime": result(50.0, 2e-2),
        },
        loop_ratios={"slow": wide, "[b]": RatioSpread(0.5, 0.412, 0.609)},
        burst_ratios={"slow": wide, "[b]": RatioSpread(0.5, 0.4, 0.6)},
        absent={},
        remarks={},
    )
    lines = printed(comparison).splitlines()
    assert lines[0].strip() == "tiny, batch 1, 2 threads, a process each, 20 rounds"
    assert max(map(len, lines)) <= 100
    assert [line.split() for line in lines[2:6]] == [
        ["[b]", "5000.00", "0.50", "(0.41..0.61)", "5000.00", "0.50", "(0.40..0.60)", "1.0e-06"],
        [OURS, "10000.00", "10000.00", "1.0e-06"],
        ["onnxruntime", "50000.00", "50000.00", "WRONG", "OUTPUT", "2.0e-02"],
        [
            "slow",
            "99000.00",
            "123.5",
            "(100.0..123.5)",
            "99000.00",
            "123.5",
            "(100.0..123.5)",
            "1.0e-06",
        ],
    ]


def test_a_ratio_has_a_spread_over_the_rounds():
    ours, peer = [1.0] * 11, [float(n) for n in range(1, 12)]
    assert ratio_spread(peer, ours) == RatioSpread(6.0, 2.0, 10.0)
    assert pairwise_ratio(peer, ours) == 6.0


def test_orders_are_carried_out_and_none_outlives_an_interruption(subject):
    def interrupt():
        with open_crew(subject, batch=2, find=find) as crew:
            worker, ready = crew.hire("peer", threads=1)
            started.append(int(ready.remark.split()[1]))
            done = worker.ask(Order(before=1, pause_seconds=0.1, calls=2, seconds=0.1))
            assert done.sleeps
            assert len(done.seconds) > 8
            assert sum(done.seconds) > 0.09
            assert len(worker.ask(Order(calls=2)).seconds) == 2
            os.kill(started[0], signal.SIGSTOP)  # it could not end by itself
            raise KeyboardInterrupt

    started = []
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not is_alive(started[0])


def test_a_name_that_means_nothing_in_the_process_is_a_line(subject):
    with (
        open_crew(subject, batch=1, find=find) as crew,
        pytest.raises(EngineError, match="^KeyError: 'unheard'$"),
    ):
        crew.hire("unheard", threads=1)


@pytest.mark.parametrize("end", ["ctrl-c", "kill"])
def test_no_process_outlives_the_program(model, tmp_path, end):
    """Not while it is made ready either; Ctrl-C goes to the whole group, and shows no traceback."""
    program = subprocess.Popen(
        [sys.executable, "-m", "onebyone", "bench", model.replace(":make", ":hang"), "--isolate"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # who is killed leaves its files
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    path = tmp_path / "pid"
    wait_until(lambda: (path.exists() and path.read_text()) or program.poll())
    if end == "ctrl-c":
        os.killpg(program.pid, signal.SIGINT)
    else:
        program.kill()
    output, error = program.communicate(timeout=20)
    assert program.returncode == (130 if end == "ctrl-c" else -signal.SIGKILL)
    assert error == "noise of a file\nnoise of a process\n"
    assert "noise" not in output
    wait_until(lambda: not is_alive(int(path.read_text())))
