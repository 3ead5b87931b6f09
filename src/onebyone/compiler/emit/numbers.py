"""Types of numbers in memory, and addresses that know which lie there."""

from typing import Any

from llvmlite import ir

from onebyone.compiler.memory.formats import BF16, FP16, FP32, WIDE_BF16, Format

F32 = ir.FloatType()


class BFloatType(ir.Type):
    """The upper half of a float32, which llvmlite does not know."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"


class NumbersPointer(ir.PointerType):
    """An address whose type says in which format the numbers there are; to LLVM it is one of all.

    Whoever goes on from such an address has one of its type.
    """

    format = FP32


class BFloatPointer(NumbersPointer):
    """An address of bfloat16."""

    format = BF16


class HalfPointer(NumbersPointer):
    """An address of halves."""

    format = FP16


class WideBFloatPointer(NumbersPointer):
    """An address of float32 numbers that are bfloat16."""

    format = WIDE_BF16


PTR = ir.PointerType()
"""An address of anything; numbers there are float32."""

BFLOAT = BFloatType()
_POINTERS = {
    FP32: PTR,
    BF16: BFloatPointer(),
    FP16: HalfPointer(),
    WIDE_BF16: WideBFloatPointer(),
}
_NUMBERS = {FP32: F32, BF16: BFLOAT, FP16: ir.HalfType(), WIDE_BF16: F32}


def pointer_to(numbers: Format) -> ir.PointerType:
    """Return the type of addresses where there are numbers of that format."""
    return _POINTERS[numbers]


def format_of(kind: ir.Type) -> Format:
    """Return the format of the numbers that an address of that type points to."""
    return kind.format if isinstance(kind, NumbersPointer) else FP32


def number_at(pointer: Any) -> ir.Type:
    """Return the type of the numbers at an address."""
    return _NUMBERS[format_of(pointer.type)]


def bytes_at(pointer: Any) -> int:
    """Return how many bytes a number at an address has."""
    return format_of(pointer.type).number_bytes
