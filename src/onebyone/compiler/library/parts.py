"""What a library is compiled and linked of: machine code, weights, and sources in C."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from onebyone.compiler.jit import compile_module
from onebyone.compiler.library.plan import LibraryPlan, TargetPlan
from onebyone.compiler.library.sources import RUNTIME, source, with_names
from onebyone.compiler.library.tables import EMBEDDED_FILE, symbol_prefix, tables
from onebyone.compiler.library.weights import identity_of, weights_file
from onebyone.compiler.module import emit_network


@dataclass(frozen=True, slots=True)
class Parts:
    """Hold what a C compiler needs.

    Args:
        plan: What the library will have.
        objects: An object file for each target, by its name.
        identity: What ties weights to this machine code.
        weights: The file of weights.
    """

    plan: LibraryPlan
    objects: Mapping[str, bytes]
    identity: bytes
    weights: bytes

    @classmethod
    def of(cls, plan: LibraryPlan) -> Self:
        """Compile machine code and pack weights."""
        objects = {one.target.name: _object(plan, one) for one in plan.targets}
        sections = {
            one.target.name: one.constants.block().numpy().tobytes() for one in plan.targets
        }
        identity = identity_of(sections, objects)
        return cls(plan, objects, identity, weights_file(sections, identity))

    def write(self, folder: Path) -> list[str]:
        """Write `runtime.c`, all that it includes, and objects; return what these are called."""
        for name in RUNTIME:
            (folder / name).write_text(source(self.plan, name))
        (folder / f"{self.plan.name}.h").write_text(source(self.plan, "network.h"))
        (folder / "tables.h").write_text(with_names(self.plan, tables(self.plan, self.identity)))
        (folder / EMBEDDED_FILE).write_bytes(self.weights if self.plan.embed else b"")
        for target, content in self.objects.items():
            (folder / f"{target}.o").write_bytes(content)
        return [f"{target}.o" for target in self.objects]


def _object(plan: LibraryPlan, one: TargetPlan) -> bytes:
    module = emit_network(one.plans, one.target, prefix=symbol_prefix(plan, one))
    return compile_module(module, one.target, position_independent=True)
