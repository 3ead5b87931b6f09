"""Matrix tiles (AMX): 16 rows of 64 bytes, of which two, multiplied, are added to a third."""

from collections.abc import Mapping
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.code import VOID, Code
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.schedule import constant

LINE_BYTES = 64
"""Of a row of any matrix tile."""

ROWS = 16
"""Most rows of a matrix tile."""

COLUMNS = 16
"""Sums of a row, float32."""

DEPTH = 32
"""Numbers of bfloat16 in a row: of K, multiplied at once."""

I8 = ir.IntType(8)


def configure_tiles(code: Code, heights: Mapping[int, int]) -> None:
    """Tell the processor how many rows each tile has, by its number."""
    widths, rows = [0] * 16, [0] * 16
    for number, height in heights.items():
        widths[number], rows[number] = LINE_BYTES, height
    content = [1, *[0] * 15]
    for width in widths:
        content += [width & 255, width >> 8]
    content += rows
    name = f"matrix_tiles_{'_'.join(map(str, rows[: max(heights) + 1]))}"
    known = code.module.globals.get(name)
    if known is None:
        kind = ir.ArrayType(I8, len(content))
        known = constant(code.module, name, kind, [ir.Constant(I8, one) for one in content])
    call_tiles(code, "ldtilecfg", known)


def tile_number(number: int) -> ir.Constant:
    """Return which of the eight tiles an instruction is to use."""
    return ir.Constant(I8, number)


def call_tiles(code: Code, name: str, *arguments: Any) -> None:
    """Call an instruction for matrix tiles, by LLVM's name of it."""
    kinds = [PTR if isinstance(one, ir.GlobalVariable) else one.type for one in arguments]
    function = code.intrinsic(f"llvm.x86.{name}", VOID, kinds)
    code.builder.call(function, list(arguments))
