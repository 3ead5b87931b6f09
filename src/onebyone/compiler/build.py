"""From a graph without opaque nodes to a function that can be called, or from the cache."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from onebyone.compiler.abi import NETWORK_SYMBOLS
from onebyone.compiler.account import Account
from onebyone.compiler.cache import read_entry, write_entry
from onebyone.compiler.fork import whole
from onebyone.compiler.jit import compile_module, load_object
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.runtime.native import Binary, Program
from onebyone.compiler.target import Target
from onebyone.errors import CompileError
from onebyone.graph import Graph, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onebyone.compiler.choose.choices import Choices
    from onebyone.compiler.plan.plan import ExecutionPlan

MOST_INPUTS = 8
"""How many inputs an entry of the cache tells of, for people."""


@dataclass(frozen=True, slots=True)
class Built:
    """Machine code in this process, and what each of its programs does."""

    binary: Binary
    accounts: tuple[Account, ...]


def build(
    graphs: Sequence[Graph],
    target: Target,
    key: str | None,
    options: CompileOptions = DEFAULT_OPTIONS,
    chosen: "Mapping[str, Choices] | None" = None,
) -> Built:
    """Plan, write and compile a graph; keep it under `key` unless that is None.

    There may be several `graphs` of one network, whose inputs have other shapes: they become its
    programs. Some nodes of the first may have been `chosen` to run in another way than the
    cost model says.

    Raises:
        CompileError: If memory or LLVM gives out.
    """
    # What comes from the cache needs neither, and they take a tenth of a second to import. A child
    # that is forked meanwhile would wait for the rest of the import for ever.
    with whole:
        from onebyone.compiler.plan.plan import plan_execution

    plans = [plan_execution(graphs[0], target, options, chosen)]
    for graph in graphs[1:]:
        plans.append(plan_execution(graph, target, options, like=plans[-1]))
    return _build(graphs, plans, target, key, options)


def build_variants(
    graph: Graph,
    target: Target,
    options: CompileOptions,
    variants: "Sequence[Mapping[str, Choices]]",
) -> Built:
    """Compile a graph in several variants, which are programs of one network.

    What they have in common, code and weights, is there once. Each says how some nodes run in
    another way than the cost model says.

    Raises:
        CompileError: As `build`, or if a node cannot run so.
    """
    with whole:
        from onebyone.compiler.plan.plan import plan_execution

    plans = [plan_execution(graph, target, options, variants[0])]
    for chosen in variants[1:]:
        plans.append(plan_execution(graph, target, options, chosen, like=plans[0]))
    return _build([graph] * len(plans), plans, target, None, options)


def _build(
    graphs: Sequence[Graph],
    plans: "Sequence[ExecutionPlan]",
    target: Target,
    key: str | None,
    options: CompileOptions,
) -> Built:
    """Write and compile what was planned; keep it under `key` unless that is None."""
    with whole:
        from onebyone.compiler.module import emit_network

    accounts = [Account.of(graph, plan) for graph, plan in zip(graphs, plans, strict=True)]
    description = _describe(accounts, plans)
    module = emit_network(plans, target)
    # LLVM leaves Python's lock free, so weights are packed and written while it is busy.
    with ThreadPoolExecutor(max_workers=1) as beside:
        code = beside.submit(compile_module, module, target)
        constants = plans[0].constants.block()
        if key is not None:
            summary = {
                "layers": len(accounts[0].layers),
                "inputs": description["programs"][0]["inputs"][:MOST_INPUTS],
                "target": target.name,
                "numerics": options.numerics,
            }
            write_entry(key, description, constants, code.result, summary=summary)
    return load_built(description, code.result(), constants)


def find_built(key: str) -> Built | None:
    """Return what is kept under that key, or None."""
    entry = read_entry(key)
    try:
        return None if entry is None else load_built(*entry)
    except (CompileError, KeyError, TypeError, ValueError):
        return None  # as good as damaged


def _describe(accounts: "Sequence[Account]", plans: "Sequence[ExecutionPlan]") -> dict[str, Any]:
    programs = [
        Program(
            groups=len(plan.groups),
            operations=len(plan.operations),
            arena_size=plan.arena_size,
            inputs=plan.inputs,
            outputs=tuple((shape, ref.view) for ref, shape in plan.outputs),
        )
        for plan in plans
    ]
    return describe(accounts, programs, max(plan.scratch_size for plan in plans))


def describe(
    accounts: "Sequence[Account]", programs: "Sequence[Program]", scratch_size: int
) -> dict[str, Any]:
    """Return what `load_built` reads, beside machine code and constants, as `json` can write it."""
    return {
        "scratch_size": scratch_size,
        "programs": [
            {
                "account": account.as_json(),
                "groups": program.groups,
                "arena_size": program.arena_size,
                "inputs": [list(shape) for shape in program.inputs],
                "outputs": [[list(shape), view.value] for shape, view in program.outputs],
            }
            for account, program in zip(accounts, programs, strict=True)
        ],
    }


def load_built(description: dict[str, Any], code: bytes, constants: torch.Tensor) -> Built:
    """Load what was described.

    Raises:
        CompileError: If the machine code cannot be loaded.
        KeyError, TypeError, ValueError: If it is no such description.
    """
    accounts = tuple(Account.of_json(facts["account"]) for facts in description["programs"])
    binary = Binary(
        loaded=load_object(code, NETWORK_SYMBOLS),
        scratch_size=description["scratch_size"],
        constants=constants,
        programs=tuple(map(_read_program, accounts, description["programs"])),
        code=code,
    )
    return Built(binary, accounts)


def _read_program(account: Account, facts: dict[str, Any]) -> Program:
    return Program(
        groups=facts["groups"],
        operations=len(account.layers),
        arena_size=facts["arena_size"],
        inputs=tuple(tuple(shape) for shape in facts["inputs"]),
        outputs=tuple((tuple(shape), View(view)) for shape, view in facts["outputs"]),
    )
