"""Networks compiled for aarch64: linked with Debian's cross compiler, run in qemu's emulation."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onebyone.compiler import abi
from onebyone.compiler.emit import threads
from onebyone.compiler.jit import compile_module
from onebyone.compiler.memory.arena import SLACK
from onebyone.compiler.module import emit_network
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.plan.plan import ExecutionPlan, plan_execution
from onebyone.compiler.runtime.native import show
from onebyone.compiler.target import TARGETS
from onebyone.graph import Graph

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
MAIN = Path(__file__).with_name("cross.c")
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread")
SECONDS = 60
"""More than any of our programs needs; who takes longer waits for a thread that never comes."""

MOST_THREADS = 2


def missing() -> str:
    """Say what has to be installed first; "" where everything is there."""
    for program, package in ((COMPILER, "gcc-aarch64-linux-gnu"), (EMULATOR, "qemu-user")):
        if shutil.which(program) is None:
            return f"no program {program!r}: apt-get install {package}"
    # The compiler comes without a C library; of a file that it lacks it knows no path.
    found = subprocess.run(
        [COMPILER, "-print-file-name=libc.a"], capture_output=True, text=True, check=True
    )
    has_library = Path(found.stdout.strip()).is_absolute()
    return "" if has_library else "no C library for aarch64: apt-get install libc6-dev-arm64-cross"


@dataclass(frozen=True, slots=True)
class Program:
    """A network as a program for aarch64, in a folder of its own."""

    plan: ExecutionPlan
    folder: Path

    def run(self, inputs: Sequence[Tensor], *, threads: int = 1, spins: int = 100) -> list[Tensor]:
        """Run it and return its outputs as PyTorch would see them.

        Args:
            inputs: Tensors of the graph's shapes.
            threads: 1 or 2.
            spins: How often a thread looks before it sleeps.
        """
        for index, tensor in enumerate(inputs):
            (self.folder / f"input{index}").write_bytes(tensor.contiguous().numpy().tobytes())
        busy = int(_checked([EMULATOR, "./network", str(threads), str(spins)], self.folder))
        assert (busy > 0) == (threads > 1), "the second thread had no part in 1000 calls"
        found = []
        for index, (ref, shape) in enumerate(self.plan.outputs):
            content = bytearray((self.folder / f"output{index}").read_bytes())
            found.append(show(torch.frombuffer(content, dtype=torch.float32).view(shape), ref.view))
        return found


def build_program(graph: Graph, folder: Path, options: CompileOptions = DEFAULT_OPTIONS) -> Program:
    """Compile a graph without opaque nodes for aarch64 and link it."""
    target = TARGETS["neon"]
    plan = plan_execution(graph, target, options)
    for name, module in (
        ("kernels", emit_network([plan], target)),
        ("threads", threads.emit_threads(target)),
    ):
        code = compile_module(module, target, position_independent=True)
        (folder / f"{name}.o").write_bytes(code)
    (folder / "constants").write_bytes(plan.constants.block().numpy().tobytes())
    (folder / "facts.h").write_text(_facts(plan))
    objects = ["kernels.o", "threads.o"]
    _checked([COMPILER, *FLAGS, "-I.", "-o", "network", str(MAIN), *objects], folder)
    return Program(plan, folder)


def _checked(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def _facts(plan: ExecutionPlan) -> str:
    """Write what the program has to know, in C."""
    groups = len(plan.groups)
    numbers = {
        **{f"CONTEXT_{word.name}": int(word) for word in abi.ContextWord},
        "CONTEXT_WORDS": len(abi.ContextWord),
        "TIMING_WORDS": abi.TIMING_WORDS,
        "COUNTER_WORDS": groups * abi.counter_words(MOST_THREADS),
        "POOL_SPINS": int(abi.PoolWord.SPINS),
        "POOL_WORDS": abi.POOL_WORDS,
        "WORKER_POOL": int(abi.WorkerWord.POOL),
        "WORKER_NUMBER": int(abi.WorkerWord.NUMBER),
        "WORKER_WORDS": len(abi.WorkerWord),
        **{word.name: int(word) for word in abi.BaseWord},
        "INPUT_WORDS": abi.INPUT_WORDS,
        "ARENA_BYTES": 4 * plan.arena_size,
        "SCRATCH_BYTES": 4 * plan.scratch_size * MOST_THREADS,
        "CONSTANT_BYTES": 4 * (plan.constants.size + SLACK),
        "OPERATIONS": len(plan.operations),
        "INPUTS": len(plan.inputs),
        "OUTPUTS": len(plan.outputs),
    }
    strides = [torch.empty(shape, device="meta").stride() for shape in plan.inputs]
    tables = {
        "input_bytes[]": [4 * shape.numel() for shape in map(torch.Size, plan.inputs)],
        "input_strides[][4]": strides,
        "output_bytes[]": [4 * torch.Size(shape).numel() for _, shape in plan.outputs],
    }
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    lines += [f"static const int64_t {name} = {_braces(rows)};" for name, rows in tables.items()]
    return "\n".join([*lines, ""])


def _braces(value: Sequence[int] | Sequence[Sequence[int]] | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "{" + ", ".join(_braces(item) for item in value) + "}"
