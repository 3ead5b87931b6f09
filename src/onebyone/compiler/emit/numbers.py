"""Types of numbers in memory, and addresses that know which lie there."""

from llvmlite import ir

from onebyone.compiler.memory.formats import BF16, FP32, Format

F32 = ir.FloatType()


class BFloatType(ir.Type):
    """The upper half of a float32, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"


class NumbersPointer(ir.PointerType):
    """An address whose type says in which format the numbers there are; to LLVM it is one of all.

    Whoever goes on from such an address has one of its type.
    """

    def __init__(self, number: ir.Type, format_name: str) -> None:
        super().__init__()
        self.number = number
        self.format_name = format_name


PTR = ir.PointerType()
"""An address of anything; numbers there are float32."""

BFLOAT = BFloatType()
_POINTERS = {FP32: PTR, BF16: NumbersPointer(BFLOAT, BF16.name)}


def pointer_to(numbers: Format) -> ir.PointerType:
    """Return the type of addresses where there are numbers of that format."""
    return _POINTERS[numbers]


def number_at(pointer: ir.Value) -> ir.Type:
    """Return the type of the numbers at an address."""
    kind = pointer.type
    return kind.number if isinstance(kind, NumbersPointer) else F32


def format_name(kind: ir.Type) -> str:
    """Return the name of the format of an address's type."""
    return kind.format_name if isinstance(kind, NumbersPointer) else FP32.name


NUMBER_BYTES = {F32: FP32.number_bytes, BFLOAT: BF16.number_bytes}
