"""Input vectors in registers of bytes: collected, squared and added up, never byte by byte.

Compilers make a fast loop for long vectors and a slow one for what is left over, and the vectors of
a convolution consist of short runs. Rows are therefore padded to whole registers, and the end of a
run is copied as a whole register, too, which overlaps the one before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.kernels.emit import Build, Typing, at, fetch, slots

ROW = 64  # bytes; vectors are padded to a multiple of it
TOGETHER = 4  # vectors
_HALF = 32  # bytes whose 16-bit products fill a register of 512 bits
_I8, _I16, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(64)
_NARROW, _WIDE = ir.VectorType(_I8, _HALF), ir.VectorType(_I16, _HALF)


def _copy_run(_: Typing, source: Typing, sink: Typing, size: Typing) -> Build:
    """Copy ``size`` bytes, 1 or more, from one address to another that does not overlap."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        source, sink, size = args
        _copy_by(builder, source, sink, size, [64, 32, 16, 8, 4])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), build


copy_run: Callable[..., None] = intrinsic(_copy_run)


def _copy_by(
    builder: ir.IRBuilder, source: ir.Value, sink: ir.Value, size: ir.Value, widths: list[int]
) -> None:
    """Emit copies of the widest registers that fit; the last one ends where the run ends."""
    if not widths:
        with cgutils.for_range(builder, size) as loop:
            _copy(builder, _I8, source, sink, loop.index)
        return
    width = widths[0]
    kind, step = ir.VectorType(_I8, width), ir.Constant(_I64, width)
    with builder.if_else(builder.icmp_unsigned(">=", size, step)) as (fits, short):
        with fits:
            last = builder.sub(size, step)
            if width == ROW:
                whole = builder.udiv(builder.add(last, ir.Constant(_I64, width - 1)), step)
                with cgutils.for_range(builder, whole) as loop:
                    _copy(builder, kind, source, sink, builder.mul(loop.index, step))
            else:
                _copy(builder, kind, source, sink, ir.Constant(_I64, 0))
            _copy(builder, kind, source, sink, last)
        with short:
            _copy_by(builder, source, sink, size, widths[1:])


def _copy(
    builder: ir.IRBuilder, kind: ir.Type, source: ir.Value, sink: ir.Value, place: ir.Value
) -> None:
    """Emit the copy of one register."""
    value = builder.load(at(builder, kind, source, (place, 1)), align=1)
    builder.store(value, at(builder, kind, sink, (place, 1)), align=1)


def _seen(count: int) -> Callable[..., np.uint64]:
    """Make a function that returns the bits that are set in any byte of ``count`` rows.

    It takes the address of the rows, what they are apart, and bytes of a row, a multiple of 64; it
    returns 8 bits for each row, the first one's lowest. As many rows behind them are fetched into
    the second cache meanwhile.
    """

    @intrinsic
    def look(_: Typing, x: Typing, x_step: Typing, size: Typing) -> Build:
        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            x, x_step, size = args
            kind = ir.VectorType(_I8, ROW)
            seen = slots(builder, kind, count, 1)
            with cgutils.for_range(builder, builder.udiv(size, ir.Constant(_I64, ROW))) as loop:
                for i, (slot,) in enumerate(seen):
                    place = at(builder, kind, x, (x_step, i), (loop.index, ROW))
                    more = builder.load(place, align=1)
                    builder.store(builder.or_(builder.load(slot), more), slot)
                    ahead = at(builder, _I8, x, (x_step, count + i), (loop.index, ROW))
                    fetch(builder, builder.ptrtoint(ahead, _I64), 2)
            return _packed_bits(builder, seen)

        return types.uint64(types.uint64, types.uint64, types.uint64), build

    return look


seen_four, seen_one = _seen(TOGETHER), _seen(1)


def _collect(count: int) -> Callable[..., int]:
    """Make a function that collects ``count`` vectors of bytes register by register.

    It takes the address of the map; that of where vectors begin in it (int64 for each); that of the
    vectors and what they are apart; that of what a vector consists of, and how many registers those
    are: uint64 for each, where it lies from the vector's beginning in the map, and in the vector.
    It returns the bits that are set in any byte of a vector, 8 for each, the first one's lowest.
    """

    @intrinsic
    def collect(
        _: Typing, source: Typing, bases: Typing, sink: Typing, step: Typing, parts: Typing,
        number: Typing,
    ) -> Build:  # fmt: skip
        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            source, bases, sink, step, parts, number = args
            kind = ir.VectorType(_I8, ROW)
            starts = [
                builder.add(source, builder.load(at(builder, _I64, bases, (1, 8 * i))))
                for i in range(count)
            ]
            seen = slots(builder, kind, count, 1)
            with cgutils.for_range(builder, number) as loop:
                here, there = (
                    builder.load(at(builder, _I64, parts, (loop.index, 16), (1, 8 * i)))
                    for i in range(2)
                )
                for i, (start, (slot,)) in enumerate(zip(starts, seen, strict=True)):
                    value = builder.load(at(builder, kind, start, (here, 1)), align=1)
                    place = at(builder, kind, sink, (step, i), (there, 1))
                    builder.store(value, place, align=1)
                    builder.store(builder.or_(builder.load(slot), value), slot)
            return _packed_bits(builder, seen)

        return types.uint64(*[types.uint64] * 6), build

    return collect


collect_four, collect_one = _collect(TOGETHER), _collect(1)


def _packed_bits(builder: ir.IRBuilder, seen: list[list[ir.Value]]) -> ir.Value:
    """Emit the bits that are set in any byte of some registers, 8 for each."""
    reduce = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(_I8, [ir.VectorType(_I8, ROW)]),
        f"llvm.vector.reduce.or.v{ROW}i8",
    )  # fmt: skip
    found = ir.Constant(_I64, 0)
    for i, (slot,) in enumerate(seen):
        byte = builder.zext(builder.call(reduce, [builder.load(slot)]), _I64)
        found = builder.or_(found, builder.shl(byte, ir.Constant(_I64, 8 * i)))
    return found


def _take(count: int, squared: bool, tallied: bool) -> Callable[..., None]:
    """Make a function that squares ``count`` rows of bytes, adds them up, or both.

    It takes the address of the rows and what they are apart; that of the squares and what those are
    apart; that of the sums (uint16 for each byte of a row); bytes of a row, a multiple of 64; and
    the exponents of the rows' squares, 8 bits for each, the first row's lowest.
    """

    @intrinsic
    def function(
        _: Typing, x: Typing, x_step: Typing, squares: Typing, step: Typing, sums: Typing,
        size: Typing, exponents: Typing,
    ) -> Build:  # fmt: skip
        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            x, x_step, squares, step, sums, size, exponents = args
            how = [_rounding(builder, exponents, i) for i in range(count)] if squared else []
            with cgutils.for_range(builder, builder.udiv(size, ir.Constant(_I64, _HALF))) as loop:
                total = None
                for i in range(count):
                    place = at(builder, _NARROW, x, (x_step, i), (loop.index, _HALF))
                    value = builder.zext(builder.load(place, align=1), _WIDE)
                    if tallied:
                        total = value if total is None else builder.add(total, value)
                    if squared:
                        half, shift = how[i]
                        wide = builder.lshr(builder.add(builder.mul(value, value), half), shift)
                        place = at(builder, _NARROW, squares, (step, i), (loop.index, _HALF))
                        builder.store(builder.trunc(wide, _NARROW), place, align=1)
                if tallied:
                    place = at(builder, _WIDE, sums, (loop.index, 2 * _HALF))
                    builder.store(builder.add(builder.load(place, align=2), total), place, align=2)
            return context.get_dummy_value()

        return types.void(*[types.uint64] * 7), build

    return function


def _rounding(builder: ir.IRBuilder, exponents: ir.Value, i: int) -> tuple[ir.Value, ir.Value]:
    """Emit half a unit of a row's squares and their exponent, for every lane."""
    byte = builder.and_(builder.lshr(exponents, ir.Constant(_I64, 8 * i)), ir.Constant(_I64, 255))
    exponent = builder.trunc(byte, _I16)
    one, i32 = ir.Constant(_I16, 1), ir.IntType(32)
    half = builder.lshr(builder.shl(one, exponent), one)
    lanes = []
    for value in (half, exponent):
        none = ir.Constant(_WIDE, ir.Undefined)
        first = builder.insert_element(none, value, ir.Constant(i32, 0))
        everywhere = ir.Constant(ir.VectorType(i32, _HALF), [0] * _HALF)
        lanes.append(builder.shuffle_vector(first, first, everywhere))
    return lanes[0], lanes[1]


square_four, square_one = _take(TOGETHER, True, False), _take(1, True, False)
tally_four, tally_one = _take(TOGETHER, False, True), _take(1, False, True)
both_four, both_one = _take(TOGETHER, True, True), _take(1, True, True)
