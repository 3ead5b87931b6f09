"""Loops that use one part of a machine as fast as it goes."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I64, VOID, Code, int64
from onebyone.compiler.emit.matrix_tiles import (
    COLUMNS,
    DEPTH,
    ROWS,
    call_tiles,
    configure_tiles,
    tile_number,
)
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.waiting import pause
from onebyone.compiler.jit import Loaded, compile_module, load_object
from onebyone.compiler.target import Target

ACCUMULATORS = 12
"""Sums at once: more than latency times throughput, and few enough for 16 registers."""

VECTORS_AT_ONCE = 8

MOST_LOOKS = 1 << 14
"""How often a thread looks whether the others have come; then it gives up, and so do they."""


@dataclass(frozen=True, slots=True)
class Loops:
    """Machine code that is measured; each function lets other threads run.

    Args:
        multiply: `(numbers, count, rounds)`: `ACCUMULATORS` vector multiply-adds, `count * rounds`
            times.
        read: `(numbers, floats, rounds)`: reads so many floats, so often.
        write: The same, but writes them.
        meet: `(words, threads, rounds)`: waits for all threads so often; returns the rounds done.
        multiply_bf16: `(numbers, count, rounds)`: `bf16_macs` multiply-adds of bfloat16,
            `count * rounds` times; None if the target has none.
        bf16_macs: Those of a turn, or 0.
        loaded: Keeps the code.
    """

    multiply: Callable[[int, int, int], None]
    multiply_bf16: Callable[[int, int, int], None] | None
    bf16_macs: int
    read: Callable[[int, int, int], None]
    write: Callable[[int, int, int], None]
    meet: Callable[[int, int, int], int]
    loaded: Loaded


def load_loops(target: Target) -> Loops:
    """Compile the loops for a target that this machine can run."""
    module = ir.Module()
    _write_sums(module, target, "multiply", _multiply_add)
    _write_sums(module, target, "read", _read, step=VECTORS_AT_ONCE * target.lanes)
    _write_sums(module, target, "write", _write, step=VECTORS_AT_ONCE * target.lanes)
    _write_meet(module, target)
    macs = _write_bf16(module, target)
    symbols = ("multiply", "read", "write", "meet", *(["multiply_bf16"] if macs else []))
    loaded = load_object(compile_module(module, target), symbols)
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    plain = ctypes.CFUNCTYPE(None, pointer, number, number)
    meeting = ctypes.CFUNCTYPE(number, pointer, number, number)
    names = loaded.addresses
    return Loops(
        multiply=plain(names["multiply"]),
        multiply_bf16=plain(names["multiply_bf16"]) if macs else None,
        bf16_macs=macs,
        read=plain(names["read"]),
        write=plain(names["write"]),
        meet=meeting(names["meet"]),
        loaded=loaded,
    )


def _write_sums(
    module: ir.Module,
    target: Target,
    name: str,
    body: Callable[[Code, Any, list[Any]], list[Any]],
    step: int = 1,
) -> None:
    """Write a loop over `count` numbers, `step` at a time, that begins anew `rounds` times."""
    kinds = [PTR, I64, I64]
    code = Code(module, target, ir.Function(module, ir.FunctionType(VOID, kinds), name))
    numbers, count, rounds = code.function.args

    def turn(_: Any, carried: list[Any]) -> list[Any]:
        place, *sums = carried
        return [code.at(place, step), *body(code, place, sums)]

    def whole(_: Any, sums: list[Any]) -> list[Any]:
        return code.accumulate(code.div(count, step), [numbers, *sums], turn)[1:]

    sums = code.accumulate(
        rounds, [code.splat(1.0 + index) for index in range(ACCUMULATORS)], whole, name="round"
    )
    total = sums[0]
    for one in sums[1:]:
        total = code.builder.fadd(total, one)
    code.store(total, numbers)
    code.builder.ret_void()


def _multiply_add(code: Code, _place: Any, sums: list[Any]) -> list[Any]:
    half = code.splat(0.5)  # sums tend to 1: neither overflow nor next to nothing
    return [code.multiply_add(one, half, half) for one in sums]


def _write_bf16(module: ir.Module, target: Target) -> int:
    """Write a loop that multiplies bfloat16 as the target does; return the products of a turn."""
    if target.bf16 == "tiles":
        _write_tiles(module, target)
        return len(SUMS) * ROWS * COLUMNS * DEPTH
    if target.bf16 == "pairs":
        _write_sums(module, target, "multiply_bf16", _multiply_pairs)
        return 2 * ACCUMULATORS * target.lanes
    return 0


def _multiply_pairs(code: Code, _place: Any, sums: list[Any]) -> list[Any]:
    word = code.splat(0.0)
    return [code.multiply_pairs(word, word, one) for one in sums]


SUMS, FACTORS = (0, 1, 2, 3), (4, 5, 6, 7)
"""Matrix tiles: as many sums as there are products of two rows and two columns of factors."""


def _write_tiles(module: ir.Module, target: Target) -> None:
    kinds = [PTR, I64, I64]
    code = Code(module, target, ir.Function(module, ir.FunctionType(VOID, kinds), "multiply_bf16"))
    _, count, rounds = code.function.args
    configure_tiles(code, dict.fromkeys((*SUMS, *FACTORS), ROWS))
    for number in (*SUMS, *FACTORS):
        call_tiles(code, "tilezero", tile_number(number))
    with code.loop(0, code.mul(count, rounds), name="turn"):
        for number in SUMS:
            one, other = FACTORS[number // 2], FACTORS[2 + number % 2]
            call_tiles(code, "tdpbf16ps", *map(tile_number, (number, one, other)))
    call_tiles(code, "tilerelease")
    code.builder.ret_void()


def _read(code: Code, place: Any, sums: list[Any]) -> list[Any]:
    vectors = [code.load(code.at(place, index * code.lanes)) for index in range(VECTORS_AT_ONCE)]
    read = [code.builder.fadd(*pair) for pair in zip(sums, vectors, strict=False)]
    return [*read, *sums[len(read) :]]


def _write(code: Code, place: Any, sums: list[Any]) -> list[Any]:
    for index in range(VECTORS_AT_ONCE):
        code.store(code.splat(0.0), code.at(place, index * code.lanes))
    return sums


def _write_meet(module: ir.Module, target: Target) -> None:
    """Write the loop in which all threads wait for each other, without sleeping."""
    function = ir.Function(module, ir.FunctionType(I64, [PTR, I64, I64]), "meet")
    code = Code(module, target, function)
    b = code.builder
    word, threads, rounds = function.args
    give_up = b.append_basic_block("give_up")
    with code.loop(0, rounds, name="round") as number:
        b.atomic_rmw("add", word, int64(1), "seq_cst")
        wanted = code.mul(code.add(number, 1), threads)
        before = b.block
        look, again, there = (b.append_basic_block(name) for name in ("look", "again", "there"))
        b.branch(look)
        b.position_at_end(look)
        looks = b.phi(I64)
        looks.add_incoming(int64(0), before)
        seen = b.load_atomic(word, "seq_cst", 8, typ=I64)
        b.cbranch(code.less(seen, wanted), again, there)
        b.position_at_end(again)
        pause(code)
        following = code.add(looks, 1)
        looks.add_incoming(following, again)
        b.cbranch(code.less(following, MOST_LOOKS), look, give_up)
        b.position_at_end(there)
    b.ret(rounds)
    b.position_at_end(give_up)
    b.ret(number)
