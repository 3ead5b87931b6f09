"""Reading a work record in native code."""

from dataclasses import dataclass
from typing import Any

from onebyone.compiler.emit.code import F32, Code
from onebyone.compiler.plan.operations import Work


@dataclass(frozen=True, slots=True)
class Record:
    """A work record of a known type, at an address, beside the table of base addresses.

    `chunk` is the number of the part that is to be done.
    """

    code: Code
    work: type[Work]
    address: Any
    bases: Any
    chunk: Any = None

    def number(self, name: str) -> Any:
        """Return a field that is a number."""
        position, _ = self.work.offsets()[name]
        return self.code.load_int64(self.address, position)

    def numbers(self, *names: str) -> list[Any]:
        """Return several fields that are numbers."""
        return [self.number(name) for name in names]

    def pointer(self, name: str) -> Any:
        """Return the address that a field of type `Place` stands for."""
        position, kind = self.work.offsets()[name]
        assert kind == "Place", name
        base = self.code.load_pointer(self.bases, self.code.load_int64(self.address, position))
        offset = self.code.load_int64(self.address, position + 1)
        return self.code.builder.gep(base, [offset], source_etype=F32)
