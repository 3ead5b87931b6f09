"""What machine code consists of, for every target: any machine can compile for all of them."""

import re
import struct

import llvmlite.binding as llvm
import pytest
import torch
from llvmlite import ir
from torch import nn

from onebyone.compiler.emit.threads import emit_threads
from onebyone.compiler.jit import assembly, compile_module
from onebyone.compiler.module import emit_network
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.target import TARGETS
from onebyone.graph import capture
from tests.compiler.every_kind import EveryKind, check_is_every_kind

SYSTEM = {"syscall", "clock_gettime", "memset", "memcpy"}
"""What every C library has; all mathematics is in the code itself."""

THREADS = {"syscall", "sched_getcpu"}
"""What threads need of Linux's C libraries: to wait, and to know where they do."""

FUSED = {
    "avx512": r"vfmadd\d+ps\s.*%zmm",
    "avx2": r"vfmadd\d+ps\s.*%ymm",
    "neon": r"fmla\s+v\d+\.4s",
}


def undefined_symbols(code: bytes) -> set[str]:
    """The names that an object file (ELF, 64 bits, little endian) leaves to others."""
    sections = {s.name(): s.data() for s in llvm.ObjectFileRef.from_data(code).sections()}
    names = sections[b".strtab"]
    entries = struct.iter_unpack("<IBBHQQ", sections[b".symtab"])
    # An entry begins with the place of its name; the fourth number is its section, 0 for none.
    starts = [entry[0] for entry in entries if entry[0] and entry[3] == 0]
    return {names[start : names.index(b"\0", start)].decode() for start in starts}


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return rewrite_graph(capture(EveryKind().eval(), (torch.randn(2, 3, 17, 15),)).graph)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_code_calls_nothing_but_the_system(graph, target):
    plan = plan_execution(graph, target)
    check_is_every_kind(graph, plan)
    code = compile_module(emit_network([plan], target), target)
    assert {"syscall", "clock_gettime"} <= undefined_symbols(code) <= SYSTEM
    assert undefined_symbols(compile_module(emit_threads(target), target)) == THREADS


def test_undefined_symbols_sees_a_function_of_the_mathematical_library():
    module, number = ir.Module(), ir.FloatType()
    kind = ir.FunctionType(number, [number])
    code = ir.IRBuilder(ir.Function(module, kind, "nearest").append_basic_block())
    code.ret(code.call(ir.Function(module, kind, "llvm.rint.f32"), code.function.args))
    assert undefined_symbols(compile_module(module, TARGETS["baseline"])) == {"rintf"}
    assert undefined_symbols(compile_module(module, TARGETS["neon"])) == set()


@pytest.mark.parametrize("name", FUSED)
def test_a_product_and_its_sum_are_one_instruction_of_full_width(name):
    target = TARGETS[name]
    graph = capture(nn.Conv2d(32, 32, 1).eval(), (torch.randn(1, 32, 4, 4),)).graph
    text = assembly(emit_network([plan_execution(graph, target)], target), target)
    assert len(re.findall(FUSED[name], text)) >= target.registers // 2
    assert not re.findall(r"\b(v?mulps|fmul\s+v)", text)


def test_half_a_vector_of_channels_is_half_a_register():
    target = TARGETS["avx512"]
    graph = capture(nn.Conv2d(32, 24, 1).eval(), (torch.randn(1, 32, 4, 4),)).graph
    text = assembly(emit_network([plan_execution(graph, target)], target), target)
    (tile,) = re.findall(
        r"^tile_\w+_8_8_0_fp32_fp32_fp32_fp32_fp32_linear:\n(.*?)\n\tretq",
        text,
        re.DOTALL | re.MULTILINE,
    )
    half, whole = (re.findall(FUSED[name], tile) for name in ("avx2", "avx512"))
    assert len(half) == len(whole) >= target.registers // 2
