"""From an execution plan to LLVM IR: kernels, their work records, and the schedule over them."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I64, PTR, VOID, Code, int64
from onebyone.compiler.emit.record import Record
from onebyone.compiler.emit.schedule import constant, emit_schedule
from onebyone.compiler.kernels.band import BandKernel, emit_band
from onebyone.compiler.kernels.dense.kernel import ConvolutionKernel, emit_convolution
from onebyone.compiler.kernels.depthwise import DepthwiseKernel, emit_depthwise
from onebyone.compiler.kernels.elementwise import ElementwiseKernel, emit_elementwise
from onebyone.compiler.kernels.fill import FillKernel, emit_fill
from onebyone.compiler.kernels.gather import GatherKernel, emit_gather
from onebyone.compiler.kernels.kernel import Kernel, Operation
from onebyone.compiler.kernels.normalize import NormalizeKernel, emit_normalize
from onebyone.compiler.kernels.pool import PoolKernel, emit_pool
from onebyone.compiler.kernels.transfer import ReadKernel, WriteKernel, emit_read, emit_write
from onebyone.compiler.kernels.upsample import BilinearKernel, emit_bilinear
from onebyone.compiler.kernels.winograd.product import ProductKernel, emit_product
from onebyone.compiler.kernels.winograd.transform import TransformKernel, emit_transform
from onebyone.compiler.plan.buffers import ARENA, CONSTANTS, FIRST_TENSOR, INPUT_WORDS, Place
from onebyone.compiler.plan.plan import ExecutionPlan
from onebyone.compiler.target import Target

EMITTERS: dict[type[Kernel], Callable[[Code, Any, Record], None]] = {
    ConvolutionKernel: emit_convolution,
    TransformKernel: emit_transform,
    ProductKernel: emit_product,
    DepthwiseKernel: emit_depthwise,
    BandKernel: emit_band,
    ElementwiseKernel: emit_elementwise,
    PoolKernel: emit_pool,
    GatherKernel: emit_gather,
    BilinearKernel: emit_bilinear,
    NormalizeKernel: emit_normalize,
    FillKernel: emit_fill,
    ReadKernel: emit_read,
    WriteKernel: emit_write,
}
"""How the body of each kind of kernel is written."""


def emit_network(plan: ExecutionPlan, target: Target) -> ir.Module:
    """Write the module of a network: `run(context, thread)` and `prepare(context)`."""
    module = ir.Module("network")
    module.triple = target.triple
    groups = [
        [
            (
                _kernel_function(module, target, operation),
                _record(module, target, plan, operation, f"work_{number}_{place}"),
                operation.chunks,
            )
            for place, operation in enumerate(group)
        ]
        for number, group in enumerate(plan.groups)
    ]
    words = FIRST_TENSOR + INPUT_WORDS * len(plan.inputs) + len(plan.outputs)
    emit_schedule(module, target, groups, base_words=words, scratch_size=plan.scratch_size)
    return module


def _kernel_function(module: ir.Module, target: Target, operation: Operation) -> ir.Function:
    kernel = operation.kernel
    known = module.globals.get(kernel.symbol)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(VOID, [PTR, PTR, I64]), kernel.symbol)
    function.linkage = "internal"
    code = Code(module, target, function)
    record, bases, chunk = function.args
    EMITTERS[type(kernel)](code, kernel, Record(code, type(operation.work), record, bases, chunk))
    code.builder.ret_void()
    return function


def _record(
    module: ir.Module, target: Target, plan: ExecutionPlan, operation: Operation, name: str
) -> ir.GlobalVariable:
    words: list[int] = []
    for field in type(operation.work).offsets():
        value = getattr(operation.work, field)
        words += _resolve(plan, value) if isinstance(value, Place) else [value]
    entries: list[Any] = [int64(word) for word in words]
    for number, stage in enumerate(operation.stages):
        entries.append(_kernel_function(module, target, stage))
        entries.append(_record(module, target, plan, stage, f"{name}_stage_{number}"))
    kinds = [I64] * len(words) + [PTR] * (2 * len(operation.stages))
    return constant(module, name, ir.LiteralStructType(kinds), entries)


def _resolve(plan: ExecutionPlan, place: Place) -> list[int]:
    """Add where memory planning has put the buffer."""
    starts = {ARENA: plan.arena_offsets, CONSTANTS: plan.constants.offsets}.get(place.base, {})
    return [place.base, starts.get(place.buffer, 0) + place.offset]
