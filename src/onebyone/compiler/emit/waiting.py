"""Waiting for another thread: look for a while, then sleep in the kernel until woken.

A word that is waited for is 32 bits wide; the 32 bits behind it count who sleeps on it. Both sides
go through sequentially consistent operations: whoever changes the word afterwards looks for
sleepers, and whoever sleeps has announced itself before it looks at the word for the last time.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I32, I64, Code, int32, int64
from onebyone.compiler.emit.numbers import PTR

WAIT, WAKE = 128, 129
"""FUTEX_WAIT and FUTEX_WAKE, both | FUTEX_PRIVATE_FLAG."""

EVERYBODY = 0x7FFFFFFF


def load_word(code: Code, word: Any) -> Any:
    """Load a word that other threads write."""
    return code.builder.load_atomic(word, "seq_cst", 4, typ=I32)


def exchange(code: Code, word: Any, value: Any) -> None:
    """Store what other threads read (as an exchange, because that also orders what follows)."""
    code.builder.atomic_rmw("xchg", word, value, "seq_cst")


def pause(code: Code) -> None:
    """Tell the processor that this thread only waits."""
    name, arguments = code.target.pause
    values = [int32(value) for value in arguments]
    code.builder.call(code.intrinsic(name, ir.VoidType(), [I32] * len(values)), values)


def wait_while(
    code: Code,
    word: Any,
    spins: Any,
    is_waiting: Callable[[Any], Any],
    before_sleep: Callable[[], None] = lambda: None,
) -> None:
    """Go on when `is_waiting(value)` is false: look `spins` times, then sleep between looks.

    Args:
        code: Where the waiting is written.
        word: Address of the word that is waited for.
        spins: How often to look before sleeping.
        is_waiting: Writes the condition, of the word's value.
        before_sleep: Writes what is done before each sleep.
    """
    b = code.builder
    look, keep, nap, sleep, awake, end = (
        b.append_basic_block(name) for name in ("look", "keep", "nap", "sleep", "awake", "go")
    )
    before = b.block
    b.branch(look)
    b.position_at_end(look)
    count = b.phi(I64, name="looks")
    count.add_incoming(int64(0), before)
    waiting = is_waiting(load_word(code, word))
    b.cbranch(waiting, keep, end)

    b.position_at_end(keep)
    pause(code)
    count.add_incoming(b.add(count, int64(1)), keep)
    b.cbranch(code.less(count, spins), look, nap)

    b.position_at_end(nap)
    before_sleep()
    sleepers = b.gep(word, [int32(1)], source_etype=I32)
    b.atomic_rmw("add", sleepers, int32(1), "seq_cst")
    value = load_word(code, word)
    b.cbranch(is_waiting(value), sleep, awake)
    b.position_at_end(sleep)
    _futex(code, word, WAIT, value)
    b.branch(awake)
    b.position_at_end(awake)
    b.atomic_rmw("sub", sleepers, int32(1), "seq_cst")
    count.add_incoming(int64(0), awake)
    b.branch(look)
    b.position_at_end(end)


def wake(code: Code, word: Any) -> None:
    """Wake all who sleep on a word that has just been changed."""
    b = code.builder
    sleepers = b.load_atomic(b.gep(word, [int32(1)], source_etype=I32), "seq_cst", 4, typ=I32)
    with b.if_then(b.icmp_signed("!=", sleepers, int32(0)), likely=False):
        _futex(code, word, WAKE, int32(EVERYBODY))


def _futex(code: Code, word: Any, operation: int, value: Any) -> None:
    nothing = ir.Constant(PTR, None)
    call_system(code, code.target.futex, word, int32(operation), value, nothing, nothing, int32(0))


def call_system(code: Code, number: int, *arguments: Any) -> Any:
    """Make the system call of that number."""
    kind = ir.FunctionType(I64, [I64], var_arg=True)
    function = code.module.globals.get("syscall") or ir.Function(code.module, kind, "syscall")
    return code.builder.call(function, [int64(number), *arguments])
