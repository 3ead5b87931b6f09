"""Exported libraries beside the compiled networks that they were exported from.

    PYTHONPATH=src .venv/bin/python benchmarks/native.py [NAME...] [--rounds 20] [--valgrind]

For each network and for one and two threads: the time of a call from Python and of a call from a
program in C, which CMake builds from the exported folder, in turn; whether both give the same bits;
sizes of code and weights, and the time to open these. Then the self-test of the folder, which calls
from 8 threads at once; under valgrind too, if that is asked for (minutes).
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

import onebyone
from onebyone.compiler import CompiledModel

NAMES = ("mobilenet_v2", "efficientnet_lite0", "resnet50")
ROUND_SECONDS = 0.15
say = partial(print, flush=True)
CMAKE = """cmake_minimum_required(VERSION 3.13)
project(native LANGUAGES C)
find_package(net REQUIRED CONFIG PATHS "{folder}" NO_DEFAULT_PATH)
add_executable(native "{source}")
target_link_libraries(native PRIVATE net::net)
add_subdirectory("{folder}" exported)
"""


def build(folder: Path, work: Path) -> Path:
    """Build the program, and those of the folder, by CMake."""
    source = Path(__file__).with_suffix(".c")
    (work / "CMakeLists.txt").write_text(CMAKE.format(folder=folder, source=source))
    for command in (["-S", work, "-B", work / "build"], ["--build", work / "build"]):
        subprocess.run(["cmake", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return work / "build"


class Program:
    """The program in C, as a process that makes calls when it is asked to."""

    def __init__(self, build: Path, folder: Path, threads: int) -> None:
        """Start it."""
        arguments = folder / "net.weights", folder / "selftest/input0.f32", threads
        self._process = subprocess.Popen(
            [str(word) for word in (build / "native", *arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, calls: int) -> list[float]:
        """Return the times of some calls."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(calls, file=self._process.stdin, flush=True)
        return [int(word) / 1e9 for word in self._process.stdout.readline().split()]

    def result(self) -> list[int]:
        """Return the bits of its last result, and end it."""
        told, _ = self._process.communicate()
        return [int(told[start : start + 8], 16) for start in range(0, len(told), 8)]


def example(network: nn.Module, folder: Path | None = None) -> torch.Tensor:
    """Return an image of the size that a network reads; that of an exported folder's self-test."""
    size = network.card.preprocess.input_size
    if folder is None:
        return torch.zeros(1, 3, size, size)
    numbers = np.fromfile(folder / "selftest/input0.f32", np.float32)
    return torch.from_numpy(numbers).view(1, 3, size, size)


def python_seconds(compiled: CompiledModel, x: torch.Tensor, calls: int) -> list[float]:
    """Return the times of some calls from Python."""
    found = []
    for _ in range(calls):
        start = time.perf_counter()
        compiled(x)
        found.append(time.perf_counter() - start)
    return found


def compare(network: nn.Module, folder: Path, build: Path, *, threads: int, rounds: int) -> None:
    """Measure both in turn, and print a row."""
    x = example(network, folder)
    compiled = onebyone.compile(network, x, threads=threads)
    program = Program(build, folder, threads)
    python_seconds(compiled, x, 5)
    program.seconds(5)
    calls = max(3, int(ROUND_SECONDS / min(program.seconds(5))))
    ours: list[float] = []
    theirs: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        ours.append(statistics.median(program.seconds(calls)))
        theirs.append(statistics.median(python_seconds(compiled, x, calls)))
        ratios.append(ours[-1] / theirs[-1])
    is_same = program.result() == compiled(x).numpy().view(np.uint32).flatten().tolist()
    say(
        f"{network.card.model:20} {threads:7}  {1e3 * statistics.median(theirs):8.3f}  "
        f"{1e3 * statistics.median(ours):8.3f}  {statistics.median(ratios):7.3f}  "
        f"{1e3 * min(theirs):8.3f}  {1e3 * min(ours):8.3f}  {'same' if is_same else 'OTHER'} bits"
    )


def tell_sizes(name: str, folder: Path) -> None:
    """Print sizes, and how long it takes to open weights that were read before."""
    code, weights = ((folder / one).stat().st_size for one in ("libnet.so", "net.weights"))
    found = []
    for _ in range(3):
        start = time.perf_counter()
        with onebyone.open_native(folder):
            found.append(time.perf_counter() - start)
    say(
        f"{name}: code {code / 1e6:.2f} MB, weights {weights / 1e6:.1f} MB, "
        f"opened in {1e3 * min(found):.1f} ms"
    )


def check_under_valgrind(network: nn.Module, folder: Path, work: Path) -> None:
    """Run the example under valgrind, which knows no AVX-512, on another target; and without."""
    onebyone.compile(network, example(network)).export(folder, targets=("avx2",))
    program = build(folder, work) / "exported/example"
    arguments = (program, folder / "net.weights", folder / "selftest/input0.f32")
    command = [str(word) for word in arguments]
    wanted = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout
    under = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", *command]
    done = subprocess.run(under, text=True, capture_output=True)
    is_same = "the same" if done.stdout == wanted else "OTHER"
    say(f"valgrind ended with {done.returncode}, {is_same} result {done.stderr}")


def main() -> None:
    """Export, measure and test each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--valgrind", action="store_true")
    asked = parser.parse_args()
    say("medians of rounds in turn, ms; then the fastest rounds")
    say("network              threads    Python         C  C/Python    Python         C")
    for name in asked.names:
        with tempfile.TemporaryDirectory() as kept:
            folder, work = Path(kept) / "net", Path(kept) / "work"
            work.mkdir()
            torch.manual_seed(0)
            network = onebyone.create_model(name)
            onebyone.compile(network, example(network)).export(folder)
            programs = build(folder, work)
            for threads in (1, 2):
                compare(network, folder, programs, threads=threads, rounds=asked.rounds)
            tell_sizes(name, folder)
            test = programs / "exported/selftest", folder / "net.weights", folder / "selftest"
            subprocess.run([str(word) for word in test], check=True)
            if asked.valgrind:
                check_under_valgrind(network, folder, work)


if __name__ == "__main__":
    main()
