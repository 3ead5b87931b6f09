"""From a graph without opaque nodes to a function that can be called, or from the cache."""

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
from onebyone.compiler.runtime.native import Binary
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
    """Machine code in this process, and what it does."""

    binary: Binary
    account: Account


def build(
    graph: Graph,
    target: Target,
    key: str | None,
    options: CompileOptions = DEFAULT_OPTIONS,
    chosen: "Mapping[str, Choices] | None" = None,
) -> Built:
    """Plan, write and compile a graph; keep it under `key` unless that is None.

    Some nodes may have been `chosen` to run in another way than the cost model says.

    Raises:
        CompileError: If memory or LLVM gives out.
    """
    # What comes from the cache needs neither, and they take a tenth of a second to import. A child
    # that is forked meanwhile would wait for the rest of the import for ever.
    with whole:
        from onebyone.compiler.module import emit_network
        from onebyone.compiler.plan.plan import plan_execution

    plan = plan_execution(graph, target, options, chosen)
    account = Account.of(graph, plan)
    description = _describe(account, plan)
    module = emit_network(plan, target)
    # LLVM leaves Python's lock free, so weights are packed and written while it is busy.
    with ThreadPoolExecutor(max_workers=1) as beside:
        code = beside.submit(compile_module, module, target)
        constants = plan.constants.block()
        if key is not None:
            summary = {
                "layers": len(account.layers),
                "inputs": description["inputs"][:MOST_INPUTS],
                "target": target.name,
                "numerics": options.numerics,
            }
            write_entry(key, description, constants, code.result, summary=summary)
    return _load(description, code.result(), constants)


def find_built(key: str) -> Built | None:
    """Return what is kept under that key, or None."""
    entry = read_entry(key)
    try:
        return None if entry is None else _load(*entry)
    except (CompileError, KeyError, TypeError, ValueError):
        return None  # as good as damaged


def _describe(account: Account, plan: "ExecutionPlan") -> dict[str, Any]:
    return {
        "account": account.as_json(),
        "groups": len(plan.groups),
        "arena_size": plan.arena_size,
        "scratch_size": plan.scratch_size,
        "inputs": [list(shape) for shape in plan.inputs],
        "outputs": [[list(shape), ref.view.value] for ref, shape in plan.outputs],
    }


def _load(description: dict[str, Any], code: bytes, constants: torch.Tensor) -> Built:
    account = Account.of_json(description["account"])
    loaded = load_object(code, NETWORK_SYMBOLS)
    binary = Binary(
        loaded=loaded,
        groups=description["groups"],
        operations=len(account.layers),
        arena_size=description["arena_size"],
        scratch_size=description["scratch_size"],
        constants=constants,
        inputs=tuple(tuple(shape) for shape in description["inputs"]),
        outputs=tuple((tuple(shape), View(view)) for shape, view in description["outputs"]),
    )
    return Built(binary, account)
