"""The function that runs a whole network, on as many threads as there are.

A network has a program for each shape of its inputs. A program is a list of groups; a group holds
operations that do not depend on each other. All threads go through all groups. In a group, each
takes chunks from its own share, then from the shares of others; it goes on when all chunks of the
group are done, whoever did them. So a thread that comes late, or that the system has taken off its
core, holds up nothing but the chunk that it is in.

What a call consists of lies in a `Context`, and progress in counters: for each group one word of
chunks done (with its sleepers) and for each thread's share one word that joins the number of the
call and the next chunk. A thread that is left over from an earlier call sees that the call's number
has changed, and leaves.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from onebyone.compiler.abi import TIMING_WORDS, BaseWord, ContextWord
from onebyone.compiler.emit.code import I32, I64, VOID, Code, int32, int64
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.waiting import exchange, wait_while, wake

CHUNK_MASK = 0xFFFFFFFF


def emit_schedule(
    module: ir.Module,
    target: Any,
    programs: Sequence[Sequence[Sequence[tuple[ir.Function, ir.GlobalVariable, int]]]],
    *,
    base_words: int,
    scratch_size: int,
    prefix: str = "",
) -> None:
    """Write `run(context, thread)` and `prepare(context)`.

    Args:
        module: Where to; it has the kernels already.
        target: Processor.
        programs: For each its groups, for each group its operations: kernel, work record, number of
            chunks.
        base_words: Entries of the table of base addresses.
        scratch_size: Floats of each thread's own memory.
        prefix: What the names of both functions begin with.
    """
    table = _program_table(module, programs)
    kinds = {"prepare": [PTR], "run": [PTR, I64]}
    prepare, run = (
        Code(module, target, ir.Function(module, ir.FunctionType(VOID, kind), prefix + name))
        for name, kind in kinds.items()
    )
    _emit_prepare(prepare, table)
    _emit_run(run, table, base_words, scratch_size)


OPERATION = ir.LiteralStructType([I64, PTR, PTR, I64])
"""Chunks up to and with this operation, kernel, work record, number of the operation."""

GROUP = ir.LiteralStructType([I64, PTR])
"""Chunks of the group, its operations."""

PROGRAM = ir.LiteralStructType([I64, PTR])
"""Groups of the program, their table."""


def _program_table(
    module: ir.Module, programs: Sequence[Sequence[Sequence[Any]]]
) -> ir.GlobalVariable:
    rows = [
        PROGRAM([int64(len(groups)), _group_table(module, groups, f"program_{index}")])
        for index, groups in enumerate(programs)
    ]
    return constant(module, "programs", ir.ArrayType(PROGRAM, len(rows)), rows)


def _group_table(
    module: ir.Module, groups: Sequence[Sequence[Any]], name: str
) -> ir.GlobalVariable:
    rows, number = [], 0
    for index, group in enumerate(groups):
        entries, chunks = [], 0
        for kernel, record, count in group:
            chunks += count
            entries.append(OPERATION([int64(chunks), kernel, record, int64(number)]))
            number += 1
        operations = constant(
            module, f"{name}_group_{index}", ir.ArrayType(OPERATION, len(entries)), entries
        )
        rows.append(GROUP([int64(chunks), operations]))
    return constant(module, name, ir.ArrayType(GROUP, len(rows)), rows)


def constant(module: ir.Module, name: str, kind: ir.Type, value: Any) -> ir.GlobalVariable:
    """Put a constant into the module."""
    variable = ir.GlobalVariable(module, kind, name)
    variable.linkage = "internal"
    variable.global_constant = True
    variable.align = 64  # pyright: ignore[reportAttributeAccessIssue]
    variable.initializer = ir.Constant(kind, value)  # pyright: ignore[reportAttributeAccessIssue]
    return variable


def _load(code: Code, pointer: Any, index: Any, kind: ir.Type = I64) -> Any:
    return code.builder.load(code.word(pointer, index), typ=kind, align=8)


def _counter_stride(code: Code, threads: Any) -> Any:
    return code.mul(code.div(code.add(threads, 8), 8), 8)


def _program(code: Code, table: Any, context: Any) -> tuple[Any, Any]:
    """Return how many groups the context's program has, and their table."""
    index = _load(code, context, ContextWord.PROGRAM)

    def field(number: int, kind: ir.Type) -> Any:
        address = code.builder.gep(table, [index, int32(number)], source_etype=PROGRAM)
        return code.builder.load(address, typ=kind, align=8)

    return field(0, I64), field(1, PTR)


def _group_field(code: Code, table: Any, group: Any, index: int, kind: ir.Type) -> Any:
    address = code.builder.gep(table, [group, int32(index)], source_etype=GROUP)
    return code.builder.load(address, typ=kind, align=8)


def _emit_prepare(code: Code, programs: Any) -> None:
    """Set all counters for the next call, then publish its number."""
    b = code.builder
    (context,) = code.function.args
    threads, counters = (
        _load(code, context, ContextWord.THREADS),
        _load(code, context, ContextWord.COUNTERS, PTR),
    )
    call = b.and_(code.add(_load(code, context, ContextWord.CALL), 1), int64(CHUNK_MASK))
    stride = _counter_stride(code, threads)
    groups, table = _program(code, programs, context)
    with code.loop(0, groups, name="group") as group:
        own = code.word(counters, code.mul(group, stride))
        exchange(code, own, int32(0))
        total = _group_field(code, table, group, 0, I64)
        with code.loop(0, threads, name="share") as share:
            first = code.div(code.mul(share, total), threads)
            claim = b.or_(b.shl(call, int64(32)), first)
            exchange(code, code.word(own, code.add(share, 1)), claim)
    exchange(code, code.word(context, ContextWord.CALL), call)
    b.ret_void()


def _emit_run(code: Code, programs: Any, base_words: int, scratch_size: int) -> None:
    run_chunk = _emit_run_chunk(code.module, code.target)
    b = code.builder
    context, thread = code.function.args
    threads, counters = (
        _load(code, context, ContextWord.THREADS),
        _load(code, context, ContextWord.COUNTERS, PTR),
    )
    spins = _load(code, context, ContextWord.SPINS)
    call = b.load_atomic(code.word(context, ContextWord.CALL), "seq_cst", 8, typ=I64)
    bases = _own_bases(
        code, _load(code, context, ContextWord.BASES, PTR), thread, base_words, scratch_size
    )
    stride = _counter_stride(code, threads)
    groups, table = _program(code, programs, context)
    leave = b.append_basic_block("leave")

    def is_over(claim: Any) -> Any:
        return b.icmp_unsigned("!=", b.lshr(claim, int64(32)), call)

    with code.loop(0, groups, name="group") as group:
        done = code.word(counters, code.mul(group, stride))
        total = _group_field(code, table, group, 0, I64)
        operations = _group_field(code, table, group, 1, PTR)
        with code.loop(0, threads, name="turn") as turn:
            share = code.rem(code.add(thread, turn), threads)
            claims = code.word(done, code.add(share, 1))
            end = code.div(code.mul(code.add(share, 1), total), threads)
            look, take, work, following = (
                b.append_basic_block(name) for name in ("look", "take", "work", "following")
            )
            b.branch(look)
            b.position_at_end(look)
            claim = b.load_atomic(claims, "seq_cst", 8, typ=I64)
            ours = b.append_basic_block("ours")
            b.cbranch(is_over(claim), leave, ours)
            b.position_at_end(ours)
            chunk = b.and_(claim, int64(CHUNK_MASK))
            b.cbranch(code.less(chunk, end), take, following)
            b.position_at_end(take)
            exchanged = b.cmpxchg(claims, claim, code.add(claim, 1), "seq_cst")
            b.cbranch(b.extract_value(exchanged, 1), work, look)
            b.position_at_end(work)
            b.call(run_chunk, [context, thread, bases, operations, chunk])
            before = b.atomic_rmw("add", done, int32(1), "seq_cst")
            is_last = b.icmp_signed("==", b.add(before, int32(1)), b.trunc(total, I32))
            with b.if_then(is_last):
                wake(code, done)
            b.branch(look)
            b.position_at_end(following)

        first_claim = code.word(done, 1)

        def is_waiting(value: Any, total: Any = total, first_claim: Any = first_claim) -> Any:
            current = b.load_atomic(first_claim, "seq_cst", 8, typ=I64)
            lacking = b.icmp_signed("!=", value, b.trunc(total, I32))
            return b.and_(lacking, b.not_(is_over(current)))

        wait_while(code, done, spins, is_waiting)
        current = b.load_atomic(first_claim, "seq_cst", 8, typ=I64)
        stay = b.append_basic_block("stay")
        b.cbranch(is_over(current), leave, stay)
        b.position_at_end(stay)
    b.branch(leave)
    b.position_at_end(leave)
    b.ret_void()


def _own_bases(code: Code, bases: Any, thread: Any, words: int, scratch_size: int) -> Any:
    """Return a thread's copy of the table of base addresses, with the place of its own memory."""
    own = code.builder.alloca(I64, words)
    with code.loop(0, words, name="base") as index:
        code.builder.store(_load(code, bases, index), code.word(own, index), align=8)
    scratch = code.at(_load(code, bases, BaseWord.SCRATCH, PTR), code.mul(thread, scratch_size))
    code.builder.store(
        code.builder.ptrtoint(scratch, I64), code.word(own, BaseWord.SCRATCH), align=8
    )
    return own


def _emit_run_chunk(module: ir.Module, target: Any) -> ir.Function:
    """Write the function that finds a chunk's operation and runs it, with the time if asked to."""
    code = Code.internal(module, target, "run_chunk", PTR, I64, PTR, PTR, I64)
    b = code.builder
    context, thread, bases, operations, chunk = code.function.args
    head, found = b.append_basic_block("find"), b.append_basic_block("found")
    entry = b.block
    b.branch(head)
    b.position_at_end(head)
    index, before = b.phi(I64), b.phi(I64)
    index.add_incoming(int64(0), entry)
    before.add_incoming(int64(0), entry)

    def field(number: int, kind: ir.Type) -> Any:
        address = b.gep(operations, [index, int32(number)], source_etype=OPERATION)
        return b.load(address, typ=kind, align=8)

    end = field(0, I64)
    index.add_incoming(code.add(index, 1), head)
    before.add_incoming(end, head)
    b.cbranch(code.less(chunk, end), found, head)
    b.position_at_end(found)
    kernel_type = ir.FunctionType(VOID, [PTR, PTR, I64])
    kernel, record, number = field(1, kernel_type.as_pointer()), field(2, PTR), field(3, I64)
    arguments = [record, bases, code.sub(chunk, before)]
    _disown(code, bases, record)
    timings = _load(code, context, ContextWord.PROFILE, PTR)
    is_timed = b.icmp_unsigned("!=", b.ptrtoint(timings, I64), int64(0))
    with b.if_else(is_timed) as (timed, untimed):
        with timed:
            start = _nanoseconds(code)
            b.call(kernel, arguments)
            slot = code.mul(
                code.add(code.mul(number, _load(code, context, ContextWord.THREADS)), thread),
                TIMING_WORDS,
            )
            _note_time(code, code.word(timings, slot), start, _nanoseconds(code))
        with untimed:
            b.call(kernel, arguments)
    b.ret_void()
    return code.function


def _disown(code: Code, bases: Any, record: Any) -> None:
    """Forget what an operation has left in the thread's own memory, if another one comes."""
    b = code.builder
    owner = _load(code, bases, BaseWord.BAND_OWNER)
    kept = b.select(b.icmp_signed("==", owner, b.ptrtoint(record, I64)), owner, int64(0))
    b.store(kept, code.word(bases, BaseWord.BAND_OWNER), align=8)


def _nanoseconds(code: Code) -> Any:
    """Read the clock that only goes forward (CLOCK_MONOTONIC, number 1)."""
    with code.builder.goto_entry_block():
        moment = code.builder.alloca(ir.ArrayType(I64, 2))
    clock = code.intrinsic("clock_gettime", I32, [I32, PTR])
    code.builder.call(clock, [int32(1), moment])
    seconds, rest = _load(code, moment, 0), _load(code, moment, 1)
    return code.add(code.mul(seconds, 1_000_000_000), rest)


def _note_time(code: Code, slot: Any, start: Any, end: Any) -> None:
    b = code.builder
    first = _load(code, slot, 0)
    is_new = b.icmp_signed("==", first, int64(0))
    b.store(b.select(is_new, start, first), slot, align=8)
    b.store(end, code.word(slot, 1), align=8)
    busy = code.add(_load(code, slot, 2), code.sub(end, start))
    b.store(busy, code.word(slot, 2), align=8)
