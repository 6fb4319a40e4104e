"""Products of bytes by AVX2, for processors without AVX-512 VNNI.

Bytes of any value are widened: ``vpmaddwd`` multiplies 16 pairs of 16-bit numbers and adds
neighbours. Where inputs are single bits, ``vpmaddubsw`` multiplies 32 pairs of bytes, adds
neighbours in 16 bits, and sums of 508 rows fit these 16 bits: twice as fast (Intel 64 and IA-32
Architectures Software Developer's Manual, "PMADDWD", "PMADDUBSW"). Planes are packed as
for the wider instruction, so one packing serves both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.kernels.arrays import Bytes, Int32, Int64, Packed
from cimsim.kernels.emit import Build, Typing, at, slots

ROWS = 6  # vectors of one tile
MOST_PANELS = 1
CHUNK = (
    127  # groups of four rows whose sums of bits times bytes 16 bits hold: 2 * 127 * 128 < 2**15
)
_LINE = 64  # bytes of a panel for four rows
_HALF = 8  # columns
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_WORDS, _SUMS = ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)
_BYTES = ir.VectorType(ir.IntType(8), 32)


def _tile(emit: Callable[..., None]) -> Callable[..., None]:
    """Make the innermost loop of 6 vectors."""

    @intrinsic
    def tile(
        _: Typing, x: Typing, x_step: Typing, w: Typing, k4: Typing, out: Typing,
        out_step: Typing, scale: Typing,
    ) -> Build:  # fmt: skip
        """Addresses and steps in bytes; what the sums are multiplied by."""

        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            emit(builder, *args)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), build

    return tile


def _instruction(
    builder: ir.IRBuilder, name: str, result: ir.Type, operand: ir.Type
) -> ir.Function:
    kind = ir.FunctionType(result, [operand, operand])
    return cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.x86.avx2.{name}"
    )


def _spread(builder: ir.IRBuilder, value: ir.Value, kind: ir.Type, n: int) -> ir.Value:
    """Repeat a number ``n`` times, read as a register of another kind."""
    register = ir.VectorType(value.type, n)
    undefined = ir.Constant(register, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, n), [0] * n)
    return builder.bitcast(builder.shuffle_vector(first, undefined, zeros), kind)


def _emit_words(
    builder: ir.IRBuilder,
    x: ir.Value,
    x_step: ir.Value,
    w: ir.Value,
    k4: ir.Value,
    out: ir.Value,
    out_step: ir.Value,
    _: ir.Value,
) -> None:
    """Write the loop for 6 vectors of 16-bit numbers and 8 columns of bytes; the scale is 1.

    A lane of a sum holds two of four rows, so two neighbours are added at the end.
    """
    multiply = _instruction(builder, "pmadd.wd", _SUMS, _WORDS)
    narrow = ir.VectorType(ir.IntType(8), 16)
    sums = slots(builder, _SUMS, ROWS, 2)
    with cgutils.for_range(builder, k4) as loop:
        planes = [
            builder.sext(
                builder.load(at(builder, narrow, w, (loop.index, _LINE), (1, 16 * j)), align=16),
                _WORDS,
            )
            for j in range(2)
        ]
        for i, row in enumerate(sums):
            four = builder.load(at(builder, _I64, x, (x_step, i), (loop.index, 8)), align=1)
            vector = _spread(builder, four, _WORDS, 4)
            for slot, plane in zip(row, planes, strict=True):
                new = builder.call(multiply, [vector, plane])
                builder.store(builder.add(builder.load(slot), new), slot)
    halves = [ir.Constant(_SUMS, list(range(first, 16, 2))) for first in (0, 1)]
    for i, row in enumerate(sums):
        both = [builder.load(slot) for slot in row]
        even, odd = (builder.shuffle_vector(*both, half) for half in halves)
        target = at(builder, _SUMS, out, (out_step, i))
        builder.store(builder.add(even, odd), target, align=4)


def _emit_bits(
    builder: ir.IRBuilder,
    x: ir.Value,
    x_step: ir.Value,
    w: ir.Value,
    k4: ir.Value,
    out: ir.Value,
    out_step: ir.Value,
    scale: ir.Value,
) -> None:
    """Write the loop for 6 vectors of bytes that are 0 or 1 and 16 columns; add to ``out``."""
    multiply = _instruction(builder, "pmadd.ub.sw", _WORDS, _BYTES)
    widen = _instruction(builder, "pmadd.wd", _SUMS, _WORDS)
    sums = slots(builder, _WORDS, ROWS, 2)
    with cgutils.for_range(builder, k4) as loop:
        planes = [
            builder.load(at(builder, _BYTES, w, (loop.index, _LINE), (1, 32 * j)), align=32)
            for j in range(2)
        ]
        for i, row in enumerate(sums):
            four = builder.load(at(builder, _I32, x, (x_step, i), (loop.index, 4)), align=1)
            vector = _spread(builder, four, _BYTES, 8)
            for slot, plane in zip(row, planes, strict=True):
                new = builder.call(multiply, [vector, plane])
                builder.store(builder.add(builder.load(slot), new), slot)
    factor = _spread(builder, builder.trunc(scale, _I16), _WORDS, 16)
    for i, row in enumerate(sums):
        for j, slot in enumerate(row):
            target = at(builder, _SUMS, out, (out_step, i), (1, 32 * j))
            new = builder.call(widen, [builder.load(slot), factor])
            builder.store(builder.add(builder.load(target, align=4), new), target, align=4)


_words, _bits = _tile(_emit_words), _tile(_emit_bits)


@jit
def product(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    """As `cimsim.kernels.products.product`."""
    if bit >= 0:
        _bit_product(x, planes, parts, n, bit, out)
    else:
        _word_product(x, planes, parts, n, out)


@jit
def _word_product(x: Bytes, planes: Packed, parts: Int64, n: int, out: Int32) -> None:
    # an argument: what a kernel makes itself is freed after it has asked for the address
    _multiply_words(x[: -(-n // ROWS) * ROWS].astype(np.int16), planes, parts, n, out)


@jit
def _multiply_words(x: NDArray[np.int16], planes: Packed, parts: Int64, n: int, out: Int32) -> None:
    x0, w0, out0 = x.ctypes.data, planes.ctypes.data, out.ctypes.data
    x_step, w_step, out_step = 2 * x.shape[1], planes.shape[1] * _LINE, out.shape[1] * 4
    for t in range(parts.shape[0]):
        first, deep = parts[t, 2], parts[t, 3] - parts[t, 2]
        for half in range(2 * parts[t, 0], 2 * (parts[t, 0] + parts[t, 1])):
            v, o = x0 + 8 * first, out0 + 4 * _HALF * half
            w = w0 + half // 2 * w_step + half % 2 * (_LINE // 2) + _LINE * first
            for b in range(0, n, ROWS):
                _words(v + b * x_step, x_step, w, deep, o + b * out_step, out_step, 1)


@jit
def _bit_product(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    used = -(-n // ROWS) * ROWS
    ones = np.empty((used, x.shape[1]), np.uint8)
    for b in range(np.uint64(used)):
        for k in range(np.uint64(x.shape[1])):
            ones[b, k] = (x[b, k] >> np.uint8(bit)) & np.uint8(1)
    out[:used] = 0
    _multiply_bits(ones, planes, parts, n, bit, out)


@jit
def _multiply_bits(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    x0, w0, out0 = x.ctypes.data, planes.ctypes.data, out.ctypes.data
    x_step, w_step, out_step = x.shape[1], planes.shape[1] * _LINE, out.shape[1] * 4
    for t in range(parts.shape[0]):
        end = parts[t, 3]
        for p in range(parts[t, 0], parts[t, 0] + parts[t, 1]):
            for first in range(parts[t, 2], end, CHUNK):
                deep = min(CHUNK, end - first)
                v, w, o = x0 + 4 * first, w0 + p * w_step + _LINE * first, out0 + p * 64
                for b in range(0, n, ROWS):
                    _bits(v + b * x_step, x_step, w, deep, o + b * out_step, out_step, 1 << bit)
