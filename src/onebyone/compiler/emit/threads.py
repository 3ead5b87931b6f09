"""What worker threads run, and how a call reaches them; one module for the whole process."""

from typing import Any

from llvmlite import ir

from onebyone.compiler.abi import AWAKE, ContextWord, PoolWord, WorkerWord
from onebyone.compiler.emit.code import I32, I64, VOID, Code, int32, int64
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.waiting import (
    call_system,
    exchange,
    load_word,
    pause,
    wait_while,
    wake,
)
from onebyone.compiler.target import Target


def emit_threads(target: Target) -> ir.Module:
    """Write `work(worker)`, `invoke(pool, context)` and `spin(count)`."""
    module = ir.Module("threads")
    module.triple = target.triple
    _emit_work(module, target)
    _emit_invoke(module, target)
    _emit_spin(module, target)
    return module


def _call(code: Code, context: Any, entry: int, arguments: list[Any]) -> None:
    kind = ir.FunctionType(VOID, [a.type for a in arguments])
    function = code.builder.load(code.word(context, entry), typ=kind.as_pointer(), align=8)
    code.builder.call(function, arguments)


def _emit_work(module: ir.Module, target: Target) -> None:
    """Serve calls for ever."""
    code = Code(module, target, ir.Function(module, ir.FunctionType(PTR, [PTR]), "work"))
    b = code.builder
    (worker,) = code.function.args
    exchange(code, code.word(worker, WorkerWord.THREAD), call_system(code, target.gettid))
    pool = b.load(code.word(worker, WorkerWord.POOL), typ=PTR, align=8)
    thread = b.load(code.word(worker, WorkerWord.NUMBER), typ=I64, align=8)
    spins = b.load(code.word(pool, PoolWord.SPINS), typ=I64, align=8)
    entry, serve = b.block, b.append_basic_block("serve")
    b.branch(serve)
    b.position_at_end(serve)
    seen = b.phi(I32, name="seen")
    seen.add_incoming(int32(0), entry)
    wait_while(
        code,
        pool,
        spins,
        lambda value: b.icmp_signed("==", value, seen),
        before_sleep=lambda: exchange(
            code, code.word(worker, WorkerWord.CORE), _current_core(code)
        ),
    )
    exchange(code, code.word(worker, WorkerWord.CORE), int64(AWAKE))
    latest = load_word(code, pool)
    # Announce first, then look: who retires a context clears the job, then waits for `ACTIVE` to be
    # 0.
    b.atomic_rmw("add", code.word(pool, PoolWord.ACTIVE), int64(1), "seq_cst")
    job = b.inttoptr(b.load_atomic(code.word(pool, PoolWord.JOB), "seq_cst", 8, typ=I64), PTR)
    with b.if_then(b.icmp_unsigned("!=", b.ptrtoint(job, I64), int64(0))):
        _call(code, job, ContextWord.RUN, [job, thread])
    b.atomic_rmw("sub", code.word(pool, PoolWord.ACTIVE), int64(1), "seq_cst")
    seen.add_incoming(latest, b.block)
    b.branch(serve)


def _current_core(code: Code) -> Any:
    return code.builder.sext(code.builder.call(code.intrinsic("sched_getcpu", I32, []), []), I64)


def _emit_invoke(module: ir.Module, target: Target) -> None:
    """Make one call: prepare, tell the workers (if there is a pool), and take part."""
    code = Code(module, target, ir.Function(module, ir.FunctionType(VOID, [PTR, PTR]), "invoke"))
    b = code.builder
    pool, context = code.function.args
    _call(code, context, ContextWord.PREPARE, [context])
    with b.if_then(b.icmp_unsigned("!=", b.ptrtoint(pool, I64), int64(0))):
        exchange(code, code.word(pool, PoolWord.JOB), b.ptrtoint(context, I64))
        b.atomic_rmw("add", pool, int32(1), "seq_cst")
        wake(code, pool)
    _call(code, context, ContextWord.RUN, [context, int64(0)])
    b.ret_void()


def _emit_spin(module: ir.Module, target: Target) -> None:
    """Pause `count` times; timed once, to know how many pauses a waiting time has."""
    code = Code(module, target, ir.Function(module, ir.FunctionType(VOID, [I64]), "spin"))
    with code.loop(0, code.function.args[0]):
        pause(code)
    code.builder.ret_void()
