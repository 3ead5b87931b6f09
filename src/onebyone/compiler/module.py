"""From an execution plan to LLVM IR: kernels, their work records, and the schedule over them."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from onebyone.compiler.abi import INPUT_WORDS, BaseWord
from onebyone.compiler.emit.code import I64, Code, int64
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.record import Record
from onebyone.compiler.emit.schedule import constant, emit_schedule
from onebyone.compiler.kernels.kernel import Operation
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.plan.plan import ExecutionPlan
from onebyone.compiler.target import Target


def emit_network(plans: Sequence[ExecutionPlan], target: Target, *, prefix: str = "") -> ir.Module:
    """Write the module of a network: `run(context, thread)` and `prepare(context)`.

    It has a program for each plan; they are of one network, and share their constants. Names of
    both functions begin with `prefix`, so that a program can have several networks.
    """
    module = ir.Module("network")
    module.triple = target.triple
    programs = [_program(module, target, plan, f"work_{i}") for i, plan in enumerate(plans)]
    tensors = max(INPUT_WORDS * len(plan.inputs) + len(plan.outputs) for plan in plans)
    scratch_size = max(plan.scratch_size for plan in plans)
    emit_schedule(
        module,
        target,
        programs,
        base_words=BaseWord.FIRST_TENSOR + tensors,
        scratch_size=scratch_size,
        prefix=prefix,
    )
    return module


def _program(
    module: ir.Module, target: Target, plan: ExecutionPlan, name: str
) -> list[list[tuple[ir.Function, ir.GlobalVariable, int]]]:
    return [
        [
            (
                _kernel_function(module, target, operation),
                _record(module, target, plan, operation, f"{name}_{number}_{place}"),
                operation.chunks,
            )
            for place, operation in enumerate(group)
        ]
        for number, group in enumerate(plan.groups)
    ]


def _kernel_function(module: ir.Module, target: Target, operation: Operation) -> ir.Function:
    kernel, formats = operation.kernel, operation.work.formats()
    symbol = "_".join([kernel.symbol, *(f"{name}_{numbers.name}" for name, numbers in formats)])
    known = module.globals.get(symbol)
    if known is not None:
        return known
    code = Code.internal(module, target, symbol, PTR, PTR, I64)
    record, bases, chunk = code.function.args
    kernel.write(code, Record(code, type(operation.work), record, bases, chunk, formats))
    code.builder.ret_void()
    return code.function


def _record(
    module: ir.Module, target: Target, plan: ExecutionPlan, operation: Operation, name: str
) -> ir.GlobalVariable:
    words = [word for value in operation.work.values() for word in _words(plan, value)]
    entries: list[Any] = [int64(word) for word in words]
    for number, stage in enumerate(operation.stages):
        entries.append(_kernel_function(module, target, stage))
        entries.append(_record(module, target, plan, stage, f"{name}_stage_{number}"))
    kinds = [I64] * len(words) + [PTR] * (2 * len(operation.stages))
    return constant(module, name, ir.LiteralStructType(kinds), entries)


def _words(plan: ExecutionPlan, value: int | Place) -> list[int]:
    """Return a number as it is; of a place, its base, and how far behind that it is."""
    if isinstance(value, int):
        return [value]
    homes = {int(BaseWord.ARENA): plan.arena_offsets, BaseWord.CONSTANTS: plan.constants.offsets}
    home = homes.get(value.base, {}).get(value.buffer, 0) * value.format.per_float
    return [value.base, home + value.offset]
