"""Writing LLVM IR: loops, vectors and addresses in the words that kernels are written with.

Numbers are float32 and indices 64 bits wide. An offset counts numbers, never bytes. Where an
address says that numbers lie there as bfloat16 or halves, they become float32 when they are loaded,
and are rounded when they are stored.
"""

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from onebyone.compiler.emit.numbers import BFLOAT, F32, PTR, bytes_at, format_of, number_at
from onebyone.compiler.memory.formats import BF16, WIDE_BF16
from onebyone.compiler.target import Target

I1 = ir.IntType(1)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
VOID = ir.VoidType()


_READ, _NEAR, _DATA = 0, 2, 1
"""What `llvm.prefetch` takes: for reading, into the second cache, no instructions."""


def int64(value: Any) -> Any:
    """Return an index as it is, and a Python number as a constant one."""
    return ir.Constant(I64, value) if isinstance(value, int) else value


def int32(value: int) -> ir.Constant:
    """Return a constant of 32 bits."""
    return ir.Constant(I32, value)


@functools.cache
def _shuffled(element: ir.Type, lanes: int) -> tuple[ir.Constant, ir.Constant]:
    """Return the vector and the mask that copy a number to all lanes.

    Made once, as they stand in every kernel many times, and llvmlite writes each of their lanes.
    """
    undefined = ir.Constant(ir.VectorType(element, lanes), ir.Undefined)
    return undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)


def suffix_of(vector: ir.VectorType) -> str:
    """Return what the names of LLVM's functions of such vectors end with: `v16f32`."""
    return f"v{vector.count}{vector.element.intrinsic_name}"


@dataclass(slots=True)
class Code:
    """Hold the function that is being written, and where in it the next instruction goes."""

    module: ir.Module
    target: Target
    function: ir.Function
    builder: ir.IRBuilder = field(init=False)
    lanes: int = field(init=False)
    """Numbers of a vector."""

    def __post_init__(self) -> None:
        """Start with an empty block, and full registers."""
        self.lanes = self.target.lanes
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))

    @classmethod
    def internal(
        cls, module: ir.Module, target: Target, name: str, *arguments: ir.Type, attribute: str = ""
    ) -> "Code":
        """Begin a function that gives nothing, and that no other module sees."""
        function = ir.Function(module, ir.FunctionType(VOID, arguments), name)
        function.linkage = "internal"
        if attribute:
            function.attributes.add(attribute)
        return cls(module, target, function)

    def with_lanes(self, lanes: int) -> "Code":
        """Return what writes to the same place, with vectors of another width."""
        code = copy(self)
        code.lanes = lanes
        return code

    # Types and constants

    @property
    def vector_type(self) -> ir.VectorType:
        """A vector of float32."""
        return ir.VectorType(F32, self.lanes)

    def splat(self, value: float) -> ir.Constant:
        """Return a constant vector of equal numbers."""
        return ir.Constant(self.vector_type, [ir.Constant(F32, value)] * self.lanes)

    # Integers

    def add(self, *terms: Any) -> Any:
        """Add indices; Python numbers among them are constants."""
        total: Any = None
        for term in terms:
            total = int64(term) if total is None else self.builder.add(total, int64(term))
        return total

    def mul(self, left: Any, right: Any) -> Any:
        """Multiply two indices."""
        return self.builder.mul(int64(left), int64(right))

    def sub(self, left: Any, right: Any) -> Any:
        """Subtract two indices."""
        return self.builder.sub(int64(left), int64(right))

    def div(self, left: Any, right: Any) -> Any:
        """Divide two indices that are not negative."""
        return self.builder.udiv(int64(left), int64(right))

    def rem(self, left: Any, right: Any) -> Any:
        """Return what is left of a division."""
        return self.builder.urem(int64(left), int64(right))

    def less(self, left: Any, right: Any) -> Any:
        """Compare two indices."""
        return self.builder.icmp_signed("<", int64(left), int64(right))

    def minimum(self, left: Any, right: Any) -> Any:
        """Return the smaller index."""
        return self.builder.select(self.less(left, right), int64(left), int64(right))

    def part(self, index: Any, parts: Any, total: Any) -> tuple[Any, Any]:
        """Return the bounds of part `index` when `total` is cut into `parts` of about one size."""
        begin = self.div(self.mul(index, total), parts)
        return begin, self.div(self.mul(self.add(index, 1), total), parts)

    # Control flow

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1, name: str = "i") -> Generator[Any]:
        """Run what is written inside for `start, start + step, ...` below `stop`."""
        b = self.builder
        start, stop, step = map(int64, (start, stop, step))
        before = b.block
        head, body, end = (
            b.append_basic_block(f"{name}.{part}") for part in ("head", "body", "end")
        )
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64, name=name)
        index.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", index, stop), body, end)
        b.position_at_end(body)
        yield index
        index.add_incoming(b.add(index, step), b.block)
        b.branch(head)
        b.position_at_end(end)

    def accumulate(
        self,
        count: Any,
        values: Sequence[Any],
        body: Callable[[Any, list[Any]], list[Any]],
        name: str = "k",
    ) -> list[Any]:
        """Run `body(index, values) -> values` `count` times, at least once; return the last."""
        b = self.builder
        count = int64(count)
        before = b.block
        head = b.append_basic_block(name)
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64, name=name)
        index.add_incoming(int64(0), before)
        carried = []
        for value in values:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        updated = body(index, list(carried))
        following = b.add(index, int64(1))
        index.add_incoming(following, b.block)
        for phi, value in zip(carried, updated, strict=True):
            phi.add_incoming(value, b.block)
        end = b.append_basic_block(f"{name}.end")
        b.cbranch(b.icmp_signed("<", following, count), head, end)
        b.position_at_end(end)
        return updated

    # Memory

    def at(self, pointer: Any, *offsets: Any) -> Any:
        """Return the address of the number that lies `offsets` numbers behind `pointer`."""
        return self.builder.gep(pointer, [self.add(*offsets)], source_etype=number_at(pointer))

    def word(self, pointer: Any, index: Any) -> Any:
        """Return the address of the 64-bit word that lies `index` words behind `pointer`."""
        return self.builder.gep(pointer, [int64(index)], source_etype=I64)

    def load_float(self, pointer: Any) -> Any:
        """Load one number."""
        kind = number_at(pointer)
        number = self.builder.load(pointer, typ=kind, align=bytes_at(pointer))
        return self.builder.fpext(number, F32)

    def store_float(self, number: Any, pointer: Any) -> None:
        """Store one number."""
        rounded = self._rounded(number, pointer)
        self.builder.store(rounded, pointer, align=bytes_at(pointer))

    def load_int32(self, pointer: Any, index: Any) -> Any:
        """Load one entry of a table of 32-bit numbers, as an index."""
        address = self.builder.gep(pointer, [self.add(index)], source_etype=I32)
        return self.builder.sext(self._constant_load(address, I32, 4), I64)

    def load_int64(self, pointer: Any, index: Any) -> Any:
        """Load one entry of a table of indices."""
        return self._constant_load(self.word(pointer, index), I64, 8)

    def load_pointer(self, pointer: Any, index: Any, kind: ir.PointerType = PTR) -> Any:
        """Load one entry of a table of addresses; its `kind` says which numbers lie there."""
        return self._constant_load(self.word(pointer, index), kind, 8)

    def _constant_load(self, address: Any, kind: Any, align: int) -> Any:
        """Load what nobody writes while a network runs, so that LLVM may load it once."""
        loaded = self.builder.load(address, typ=kind, align=align)
        loaded.set_metadata("invariant.load", self.module.add_metadata([]))
        return loaded

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """Load a vector; lanes outside `mask` are zero, and their memory is not touched."""
        kind = ir.VectorType(number_at(pointer), self.lanes)
        return self.builder.fpext(self._load(kind, pointer, mask), self.vector_type)

    def _load(self, kind: ir.VectorType, pointer: Any, mask: Any) -> Any:
        if mask is None:
            return self.builder.load(pointer, typ=kind, align=bytes_at(pointer))
        arguments = [pointer, mask, ir.Constant(kind, None)]
        function = self.intrinsic(
            f"llvm.masked.load.{suffix_of(kind)}.p0", kind, [a.type for a in arguments]
        )
        return self.builder.call(function, arguments)

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        """Store a vector; only the lanes in `mask`."""
        value = self._rounded(value, pointer)
        if mask is None:
            self.builder.store(value, pointer, align=bytes_at(pointer))
            return
        arguments = [value, pointer, mask]
        function = self.intrinsic(
            f"llvm.masked.store.{suffix_of(value.type)}.p0", VOID, [a.type for a in arguments]
        )
        self.builder.call(function, arguments)

    def _rounded(self, value: Any, pointer: Any) -> Any:
        """Return a number, or a vector of them, as it is stored at an address."""

        def like(number: ir.Type) -> ir.Type:
            is_vector = isinstance(value.type, ir.VectorType)
            return ir.VectorType(number, value.type.count) if is_vector else number

        if format_of(pointer.type) == WIDE_BF16:
            value = self.builder.fptrunc(value, like(BFLOAT))
            return self.builder.fpext(value, like(F32))
        return self.builder.fptrunc(value, like(number_at(pointer)))

    def load_pair(self, pointer: Any, *, is_odd: bool = False) -> Any:
        """Load two numbers of bfloat16 as they are, as one word; an odd one beside a zero."""
        if not is_odd:
            return self.builder.load(pointer, typ=I32, align=BF16.number_bytes)
        return self.builder.zext(self.builder.load(pointer, typ=I16, align=BF16.number_bytes), I32)

    def load_pairs(self, pointer: Any) -> Any:
        """Load a vector of such words."""
        return self.builder.load(pointer, typ=ir.VectorType(I32, self.lanes), align=4)

    def fetch(self, pointer: Any) -> None:
        """Bring a cache line near that will be read later; the address may be any."""
        # Into the private cache, but not into the first one, which is full of what is read now.
        arguments = [pointer, *map(int32, (_READ, _NEAR, _DATA))]
        function = self.intrinsic("llvm.prefetch.p0", VOID, [a.type for a in arguments])
        self.builder.call(function, arguments)

    # Vectors

    def broadcast(self, number: Any) -> Any:
        """Copy one number into all lanes."""
        undefined, zeros = _shuffled(number.type, self.lanes)
        first = self.builder.insert_element(undefined, number, int32(0))
        return self.builder.shuffle_vector(first, undefined, zeros)

    def shuffle(self, vector: Any, lanes: Sequence[int]) -> Any:
        """Return the given lanes of a vector, in that order."""
        return self._blend(vector, vector, lanes)

    def transpose(self, rows: Sequence[Any]) -> list[Any]:
        """Return the columns of a square of numbers, whose rows are vectors.

        At each step, halves of rows that lie so far apart change places: first neighbours, then
        pairs, and so on.
        """
        rows, apart = list(rows), 1
        while apart < self.lanes:
            upper = [
                lane if not lane & apart else lane - apart + self.lanes for lane in self._lanes
            ]
            lower = [
                lane + apart if not lane & apart else lane + self.lanes for lane in self._lanes
            ]
            for index in self._lanes:
                if not index & apart:
                    pair = rows[index], rows[index + apart]
                    rows[index] = self._blend(*pair, upper)
                    rows[index + apart] = self._blend(*pair, lower)
            apart *= 2
        return rows

    @property
    def _lanes(self) -> range:
        return range(self.lanes)

    def _blend(self, one: Any, other: Any, lanes: Sequence[int]) -> Any:
        """Return lanes of two vectors; those of the second are counted on."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(one, other, mask)

    def first_lanes(self, count: int) -> Any:
        """Return the mask of the first `count` lanes, or None for all of them."""
        if count == self.lanes:
            return None
        return ir.Constant(
            ir.VectorType(I1, self.lanes), [int(i < count) for i in range(self.lanes)]
        )

    def no_lanes(self) -> Any:
        """Return the mask of no lanes."""
        return ir.Constant(ir.VectorType(I1, self.lanes), [0] * self.lanes)

    def lanes_below(self, count: Any) -> Any:
        """Return the mask of the first `count` lanes, where that is known only at run time."""
        lane = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        spread = self.broadcast(self.builder.trunc(count, I32))
        return self.builder.icmp_signed("<", lane, spread)

    def multiply_add(self, left: Any, right: Any, total: Any) -> Any:
        """Return `left * right + total`, rounded once where the processor can."""
        if not self.target.has_fma:
            return self.builder.fadd(total, self.builder.fmul(left, right))
        suffix = f"v{self.lanes}f32" if left.type == self.vector_type else "f32"
        function = self.intrinsic(f"llvm.fma.{suffix}", left.type, [left.type] * 3)
        return self.builder.call(function, [left, right, total])

    def multiply_pairs(self, left: Any, right: Any, total: Any) -> Any:
        """Return `total` and the products of two pairs of bfloat16, for each word of vectors."""
        kind = ir.VectorType(BFLOAT, 2 * self.lanes)
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.lanes}"
        function = self.intrinsic(name, total.type, [total.type, kind, kind])
        pairs = [self.builder.bitcast(one, kind) for one in (left, right)]
        return self.builder.call(function, [total, *pairs])

    def unary(self, name: str, value: Any) -> Any:
        """Call an intrinsic of one number, such as `floor` or `fabs`."""
        suffix = f"v{self.lanes}f32" if value.type == self.vector_type else "f32"
        function = self.intrinsic(f"llvm.{name}.{suffix}", value.type, [value.type])
        return self.builder.call(function, [value])

    def binary(self, name: str, left: Any, right: Any) -> Any:
        """Call an intrinsic of two numbers, such as `maximum`, which lets NaN through."""
        suffix = f"v{self.lanes}f32" if left.type == self.vector_type else "f32"
        function = self.intrinsic(f"llvm.{name}.{suffix}", left.type, [left.type] * 2)
        return self.builder.call(function, [left, right])

    def horizontal_sum(self, vector: Any) -> Any:
        """Add all lanes, halves first."""
        width = self.lanes
        while width > 1:
            width //= 2
            indices = [(i + width) % self.lanes if i < width else i for i in range(self.lanes)]
            vector = self.builder.fadd(vector, self.shuffle(vector, indices))
        return self.builder.extract_element(vector, int32(0))

    def horizontal_maximum(self, vector: Any) -> Any:
        """Return the largest lane, or NaN if there is one."""
        largest = self.builder.extract_element(vector, int32(0))
        for lane in range(1, self.lanes):
            largest = self.binary(
                "maximum", largest, self.builder.extract_element(vector, int32(lane))
            )
        return largest

    def for_channels(self, start: Any, stop: Any, body: Callable[[Any, Any], None]) -> None:
        """Run `body(channel, mask)` for vectors of channels `start .. stop - 1`.

        The mask is None for full vectors; the last one, where channels are left over, has the mask
        of those that there are.
        """
        full = self.add(start, self.mul(self.div(self.sub(stop, start), self.lanes), self.lanes))
        with self.loop(start, full, self.lanes, name="c") as channel:
            body(channel, None)
        with self.builder.if_then(self.less(full, stop)):
            body(full, self.lanes_below(self.sub(stop, full)))

    def intrinsic(self, name: str, result: Any, arguments: Sequence[Any]) -> ir.Function:
        """Declare (once) and return a function that LLVM or the C library has."""
        known = self.module.globals.get(name)
        if known is not None:
            return known
        return ir.Function(self.module, ir.FunctionType(result, arguments), name)
