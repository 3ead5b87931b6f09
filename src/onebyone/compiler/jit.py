"""LLVM: from IR to an object file, and from an object file to functions that can be called.

The only place that knows `llvmlite.binding`. LLVM and llvmlite have locks, so whoever is in them
holds `whole`, until the last of what it made there is gone.
"""

import functools
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from onebyone.compiler.fork import whole
from onebyone.compiler.target import Target, host_target
from onebyone.errors import CompileError, first_line

_unused: deque[llvm.ExecutionEngine] = deque()
"""What nobody calls any more; who is next in LLVM closes it."""


def llvm_version() -> str:
    """Return which LLVM it is, and which llvmlite."""
    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}"


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
    text = str(module)
    try:
        with whole:
            _close_unused()
            return _object_file(text, target, position_independent=position_independent)
    except RuntimeError as error:
        raise CompileError(
            f"LLVM refused the code: {first_line(error)}; please report it"
        ) from error


def _object_file(text: str, target: Target, *, position_independent: bool) -> bytes:
    machine = _machine(target, position_independent=position_independent)
    parsed = llvm.parse_assembly(text)
    parsed.triple = target.triple
    parsed.data_layout = str(machine.target_data)
    _passes(machine).run(parsed, llvm.create_pass_builder(machine, _options()))
    return machine.emit_object(parsed)


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
    text = str(module)
    with whole:
        return _assembly(text, target)


def _assembly(text: str, target: Target) -> str:
    machine = _machine(target)
    parsed = llvm.parse_assembly(text)
    parsed.triple = target.triple
    _passes(machine).run(parsed, llvm.create_pass_builder(machine, _options()))
    return machine.emit_assembly(parsed)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Loaded:
    """Machine code in this process, until nobody holds it any more.

    Args:
        addresses: Of its functions, by name.
    """

    addresses: Mapping[str, int]


def load_object(code: bytes, names: tuple[str, ...]) -> Loaded:
    """Load an object file into this process and find some of its functions.

    Raises:
        CompileError: If it cannot be loaded.
    """
    with whole:
        _close_unused()
        engine = _engine(code)
        addresses = {name: engine.get_function_address(name) for name in names}
        if not all(addresses.values()):
            _unused.append(engine)
            raise CompileError(f"machine code lacks one of {', '.join(names)}")
    loaded = Loaded(addresses)
    # When the program ends, threads may still wait in the code.
    weakref.finalize(loaded, _discard, engine).atexit = False
    return loaded


def _engine(code: bytes) -> llvm.ExecutionEngine:
    machine = _machine(host_target())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    try:
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    except RuntimeError as error:
        raise CompileError(f"machine code does not load: {first_line(error)}") from error
    return engine


def _discard(engine: llvm.ExecutionEngine) -> None:
    """Close an engine now if nobody is in LLVM, or leave it to the next; never wait."""
    _unused.append(engine)
    if whole.acquire(blocking=False):
        try:
            _close_unused()
        finally:
            whole.release()


def _close_unused() -> None:
    while _unused:
        _unused.popleft().close()
