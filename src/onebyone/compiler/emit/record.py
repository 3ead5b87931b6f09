"""A work record: the numbers for one operation, and reading them in native code."""

from dataclasses import dataclass, fields
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import I64, VOID, Code
from onebyone.compiler.emit.numbers import PTR, pointer_to
from onebyone.compiler.memory.buffers import Place, Strided
from onebyone.compiler.memory.formats import FP32, Format

Formats = tuple[tuple[str, Format], ...]
"""Fields that are places of other numbers than float32, and of which."""

KERNEL = ir.FunctionType(VOID, [PTR, PTR, I64])
"""What all kernels take: a work record, the table of base addresses, the number of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Stand at the root of all work records: a field is a number, a place, or a strided one."""

    @classmethod
    def offsets(cls) -> dict[str, int]:
        """Return the first word of each field, and under "" the words of all.

        A place takes two words; behind those of a strided one come its strides, as words of their
        own, such as `source_image`.
        """
        found, position = {}, 0
        for one in fields(cls):
            kind = one.type if isinstance(one.type, str) else one.type.__name__
            found[one.name] = position
            position += 1 if kind == "int" else 2
            if kind == "Strided":
                names = [f"{one.name}_{way}" for way in ("image", "row", "pixel")]
                found |= {name: position + i for i, name in enumerate(names)}
                position += len(names)
        return found | {"": position}

    def values(self) -> list[int | Place]:
        """Return what the words are for, in order."""
        found: list[int | Place] = []
        for one in fields(self):
            value = getattr(self, one.name)
            found += value if isinstance(value, Strided) else [value]
        return found

    def formats(self) -> Formats:
        """Return the fields that are places of other numbers than float32, and of which."""
        return tuple(
            (one.name, place.format)
            for one in fields(self)
            if isinstance(place := _place(getattr(self, one.name)), Place) and place.format != FP32
        )


def _place(value: object) -> object:
    return value.place if isinstance(value, Strided) else value


@dataclass(frozen=True, slots=True)
class Record:
    """A work record of a known type, at an address, beside the table of base addresses.

    `chunk` is the number of the part that is to be done; `formats` are those of the places whose
    numbers are no float32.
    """

    code: Code
    work: type[Work]
    address: Any
    bases: Any
    chunk: Any = None
    formats: Formats = ()

    def number(self, name: str) -> Any:
        """Return a field that is a number."""
        return self.code.load_int64(self.address, self.work.offsets()[name])

    def numbers(self, *names: str) -> list[Any]:
        """Return several fields that are numbers."""
        return [self.number(name) for name in names]

    def run_stage(self, index: int, chunk: Any) -> None:
        """Run one chunk of a stage; behind its fields, a record names their kernels and records."""
        b, position = self.code.builder, self.work.offsets()[""] + 2 * index
        address = self.code.word(self.address, position)
        kernel = b.load(address, typ=KERNEL.as_pointer(), align=8)
        record = self.code.load_pointer(self.address, position + 1)
        b.call(kernel, [record, self.bases, chunk])

    def set_base(self, entry: int, value: Any) -> None:
        """Change an entry of the table, which is the thread's own: an address, or a number."""
        b = self.code.builder
        word = value if value.type == I64 else b.ptrtoint(value, I64)
        b.store(word, self.code.word(self.bases, entry), align=8)

    def base_is(self, entry: int, value: Any) -> Any:
        """Whether an entry of the table, which may have been changed, is that."""
        b = self.code.builder
        address = self.code.word(self.bases, entry)
        word = value if value.type == I64 else b.ptrtoint(value, I64)
        return b.icmp_signed("==", b.load(address, typ=I64, align=8), word)

    def pointer(self, name: str) -> Any:
        """Return the address that a field stands for which is a place."""
        position = self.work.offsets()[name]
        entry = self.code.load_int64(self.address, position)
        kind = pointer_to(dict(self.formats).get(name, FP32))
        base = self.code.load_pointer(self.bases, entry, kind)
        return self.code.at(base, self.code.load_int64(self.address, position + 1))
