"""LLVM: from IR to an object file, and from an object file to functions that can be called.

The only place that knows `llvmlite.binding`.
"""

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir

from onebyone.compiler.target import Target, host_target
from onebyone.errors import CompileError, first_line

_LOCK = threading.Lock()


@functools.cache
def _start_llvm() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine(target: Target, *, position_independent: bool = False) -> llvm.TargetMachine:
    _start_llvm()
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(
        cpu=target.cpu,
        features=",".join(target.features),
        opt=3,
        reloc="pic" if position_independent else "default",
        codemodel="default" if position_independent else "jitdefault",
    )


def compile_module(
    module: ir.Module, target: Target, *, position_independent: bool = False
) -> bytes:
    """Return the object file of a module.

    Args:
        module: What to compile.
        target: Processor to compile for; need not be this one.
        position_independent: Whether a linker is to make a program of it.

    Raises:
        CompileError: If LLVM refuses, which is a bug of ours.
    """
    machine = _machine(target, position_independent=position_independent)
    try:
        parsed = llvm.parse_assembly(str(module))
        parsed.triple = target.triple
        parsed.data_layout = str(machine.target_data)
        _passes(machine).run(parsed, llvm.create_pass_builder(machine, _options()))
        return machine.emit_object(parsed)
    except RuntimeError as error:
        raise CompileError(
            f"LLVM refused the code: {first_line(error)}; please report it"
        ) from error


def _options() -> llvm.PipelineTuningOptions:
    # Kernels are vectors already; what LLVM finds beyond them costs time to compile. Level 2 makes
    # the same loops of them as level 1, and takes a third longer.
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    return options


def _passes(machine: llvm.TargetMachine) -> llvm.ModulePassManager:
    return llvm.create_pass_builder(machine, _options()).getModulePassManager()


def assembly(module: ir.Module, target: Target) -> str:
    """Return the machine code of a module as text, for people."""
    machine = _machine(target)
    parsed = llvm.parse_assembly(str(module))
    parsed.triple = target.triple
    _passes(machine).run(parsed, llvm.create_pass_builder(machine, _options()))
    return machine.emit_assembly(parsed)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Machine code in this process, until nobody holds it any more.

    Args:
        addresses: Of its functions, by name.
        engine: What owns the code.
    """

    addresses: Mapping[str, int]
    engine: llvm.ExecutionEngine


def load_object(code: bytes, names: tuple[str, ...]) -> Loaded:
    """Load an object file into this process and find some of its functions.

    Raises:
        CompileError: If it cannot be loaded.
    """
    with _LOCK:
        machine = _machine(host_target())
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        try:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            engine.finalize_object()
        except RuntimeError as error:
            raise CompileError(f"machine code does not load: {first_line(error)}") from error
        addresses = {name: engine.get_function_address(name) for name in names}
    if not all(addresses.values()):
        raise CompileError(f"machine code lacks one of {', '.join(names)}")
    return Loaded(addresses, engine)
