"""Where workers wake: not on the core of the thread that wakes them.

A worker that sleeps is woken where it last ran, and that is where the caller may be by now: after a
pause, systems start a thread wherever its timer rang. On machines whose cores do not tell which
caches they share, as many virtual ones, the worker is then put behind the caller, and two threads
take turns on one core for many calls. So whoever wakes a worker that sleeps on its own core takes
that core from the worker's set for a moment; the worker, once it runs, takes its set back, and the
system may move it again as it likes: beside a busy neighbour, that is what keeps a call going.

Sets are read anew each time, so what a user or a container allows is what holds.
"""

from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I32, I64, PTR, VOID, Code, int32, int64
from onebyone.compiler.emit.waiting import exchange

POOL, NUMBER, THREAD, CORE, IS_NARROWED = range(5)
"""Words of a worker: its pool, number and thread, where it sleeps, and whether a core was taken."""

AWAKE = -1
"""What stands for the core of a worker that does not sleep."""

SET_WORDS = 16
"""1,024 cores, as in the C library's `cpu_set_t`; where there are more, nobody is moved."""

WIDE_SET, NARROW_SET = 8, 8 + SET_WORDS
"""The worker's cores before, and without those taken."""

WORKER_WORDS = 8 + 2 * SET_WORDS


def note_thread(code: Code, worker: Any) -> None:
    """Let a worker write down, when it starts, which thread it is."""
    own = code.intrinsic("pthread_self", I64, [])
    code.builder.store(code.builder.call(own, []), _word(code, worker, THREAD), align=8)


def note_core(code: Code, worker: Any) -> None:
    """Let a worker write down, before it sleeps, on which core."""
    exchange(code, _word(code, worker, CORE), _current_core(code))


def take_cores_back(code: Code, worker: Any) -> None:
    """Let a worker that has been woken run where it may; nothing, if no core was taken."""
    b = code.builder
    exchange(code, _word(code, worker, CORE), int64(AWAKE))
    flag = _word(code, worker, IS_NARROWED)
    narrowed = b.icmp_signed("!=", b.load_atomic(flag, "seq_cst", 8, typ=I64), int64(0))
    with b.if_then(narrowed, likely=False):
        thread = b.load(_word(code, worker, THREAD), typ=I64, align=8)
        present = _new_set(code)
        with b.if_then(_read_set(code, thread, present)):
            given = _word(code, worker, NARROW_SET)
            # Another set than the one that was given is somebody's wish.
            with b.if_then(_is_same(code, present, given)):
                _write_set(code, thread, _word(code, worker, WIDE_SET))
        exchange(code, flag, int64(0))


def emit_make_room(module: ir.Module, target: Any) -> ir.Function:
    """Write `make_room(workers, count)`: none of them is to wake on the core of this thread."""
    function = ir.Function(module, ir.FunctionType(VOID, [PTR, I64]), "make_room")
    function.linkage = "internal"
    code = Code(module, target, function)
    b = code.builder
    workers, count = function.args
    core = _current_core(code)
    narrow = _emit_narrow(module, target)
    with code.loop(0, count, name="worker") as index:
        worker = _worker(code, workers, index)
        with b.if_then(b.icmp_signed("==", _sleeping_core(code, worker), core), likely=False):
            b.call(narrow, [workers, count, worker, core])
    b.ret_void()
    return function


def _emit_narrow(module: ir.Module, target: Any) -> ir.Function:
    """Write what takes a core from a worker, and those of the other workers where one is left."""
    kind = ir.FunctionType(VOID, [PTR, I64, PTR, I64])
    function = ir.Function(module, kind, "narrow")
    function.linkage = "internal"
    code = Code(module, target, function)
    b = code.builder
    workers, count, worker, core = function.args
    thread = b.load(_word(code, worker, THREAD), typ=I64, align=8)
    present, fewer, fewest = (_new_set(code) for _ in range(3))
    known = _read_set(code, thread, present)
    with b.if_then(b.and_(known, _contains(code, present, core))):
        _copy(code, present, fewer)
        _remove(code, fewer, core)
        with b.if_then(b.not_(_is_empty(code, fewer))):
            _copy(code, fewer, fewest)
            with code.loop(0, count, name="other") as index:
                theirs = _sleeping_core(code, _worker(code, workers, index))
                with b.if_then(b.icmp_signed(">=", theirs, int64(0))):
                    _remove(code, fewest, theirs)
            given = b.select(_is_empty(code, fewest), fewer, fewest)
            _copy(code, present, _word(code, worker, WIDE_SET))
            _copy(code, given, _word(code, worker, NARROW_SET))
            exchange(code, _word(code, worker, IS_NARROWED), int64(1))
            _write_set(code, thread, given)
    b.ret_void()
    return function


def _worker(code: Code, workers: Any, index: Any) -> Any:
    return code.builder.load(_word(code, workers, index), typ=PTR, align=8)


def _sleeping_core(code: Code, worker: Any) -> Any:
    return code.builder.load_atomic(_word(code, worker, CORE), "seq_cst", 8, typ=I64)


def _current_core(code: Code) -> Any:
    return code.builder.sext(code.builder.call(code.intrinsic("sched_getcpu", I32, []), []), I64)


# Sets of cores: a bit each


def _new_set(code: Code) -> Any:
    with code.builder.goto_entry_block():
        return code.builder.alloca(I64, SET_WORDS)


def _read_set(code: Code, thread: Any, into: Any) -> Any:
    """Read a thread's cores; return whether that went well."""
    return _is_done(code, "pthread_getaffinity_np", thread, into)


def _write_set(code: Code, thread: Any, cores: Any) -> None:
    """Let a thread run on some cores only, if the system allows it."""
    _is_done(code, "pthread_setaffinity_np", thread, cores)


def _is_done(code: Code, name: str, thread: Any, cores: Any) -> Any:
    function = code.intrinsic(name, I32, [I64, I64, PTR])
    status = code.builder.call(function, [thread, int64(8 * SET_WORDS), cores])
    return code.builder.icmp_signed("==", status, int32(0))


def _copy(code: Code, source: Any, target: Any) -> None:
    with code.loop(0, SET_WORDS) as index:
        word = code.builder.load(_word(code, source, index), typ=I64, align=8)
        code.builder.store(word, _word(code, target, index), align=8)


def _bit(code: Code, cores: Any, core: Any) -> tuple[Any, Any]:
    """Return the address of the word that a core's bit is in, and that bit."""
    bit = code.builder.shl(int64(1), code.rem(core, 64))
    return _word(code, cores, code.div(core, 64)), bit


def _contains(code: Code, cores: Any, core: Any) -> Any:
    address, bit = _bit(code, cores, core)
    word = code.builder.load(address, typ=I64, align=8)
    return code.builder.icmp_unsigned("!=", code.builder.and_(word, bit), int64(0))


def _remove(code: Code, cores: Any, core: Any) -> None:
    address, bit = _bit(code, cores, core)
    word = code.builder.load(address, typ=I64, align=8)
    code.builder.store(code.builder.and_(word, code.builder.not_(bit)), address, align=8)


def _is_empty(code: Code, cores: Any) -> Any:
    b = code.builder

    def join(index: Any, values: list[Any]) -> list[Any]:
        return [b.or_(values[0], b.load(_word(code, cores, index), typ=I64, align=8))]

    (joined,) = code.accumulate(SET_WORDS, [int64(0)], join)
    return b.icmp_unsigned("==", joined, int64(0))


def _is_same(code: Code, left: Any, right: Any) -> Any:
    b = code.builder

    def compare(index: Any, values: list[Any]) -> list[Any]:
        first, second = (
            b.load(_word(code, cores, index), typ=I64, align=8) for cores in (left, right)
        )
        return [b.or_(values[0], b.xor(first, second))]

    (differing,) = code.accumulate(SET_WORDS, [int64(0)], compare)
    return b.icmp_unsigned("==", differing, int64(0))


def _word(code: Code, pointer: Any, index: Any) -> Any:
    return code.builder.gep(pointer, [code.add(index)], source_etype=I64)
