"""Products of bytes by the dot product of NEON, for ARM processors from ARMv8.2 on.

``sdot`` multiplies 16 pairs of signed bytes and adds four and four of them to sums of 32 bits (Arm
Architecture Reference Manual, "SDOT (vector)"). Inputs have no sign: they are taken 128 lower, and
128 times the sum of each column is added at the end. Planes are packed as for the wider
instructions, so a register holds four rows of four columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.jit import jit
from cimsim.kernels.arrays import Bytes, Int32, Int64, Packed
from cimsim.kernels.emit import Build, Typing, at, slots

ROWS = 4  # vectors of one tile: with 4 registers of a plane 16 sums, of 32 registers
MOST_PANELS = 1
_LINE, _REGISTER = 64, 16  # bytes of a panel for four rows, of a register
_I32 = ir.IntType(32)
_BYTES, _SUMS = ir.VectorType(ir.IntType(8), 16), ir.VectorType(_I32, 4)
_SIGNS = 0x80808080 - 2**32  # four bytes, each the sign
Dot: TypeAlias = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]


def dot(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Add the products of signed bytes to sums, four and four to one."""
    kind = ir.FunctionType(_SUMS, [_SUMS, _BYTES, _BYTES])
    call = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, "llvm.aarch64.neon.sdot.v4i32.v16i8"
    )
    return builder.call(call, [sums, a, b])


def emit(
    builder: ir.IRBuilder, x: ir.Value, x_step: ir.Value, w: ir.Value, k4: ir.Value, out: ir.Value,
    out_step: ir.Value, multiply: Dot = dot,
) -> None:  # fmt: skip
    """Write the loop for 4 vectors of bytes and a panel of 16 columns.

    Addresses and steps are in bytes; ``multiply`` is what `dot` does.
    """
    n_registers = _LINE // _REGISTER
    sums, (columns,) = (
        slots(builder, _SUMS, ROWS, n_registers),
        slots(builder, _SUMS, 1, n_registers),
    )
    half = ir.Constant(_BYTES, [64] * _BYTES.count)  # 128 is no signed byte
    with cgutils.for_range(builder, k4) as loop:
        places = [at(builder, _BYTES, w, (loop.index, _LINE), (1, _REGISTER * j))
                  for j in range(n_registers)]  # fmt: skip
        planes = [builder.load(place, align=_REGISTER) for place in places]
        for slot, plane in zip(columns, planes, strict=True):
            builder.store(multiply(builder, builder.load(slot), plane, half), slot)
        for i, row in enumerate(sums):
            four = builder.load(at(builder, _I32, x, (x_step, i), (loop.index, 4)), align=1)
            lower = builder.xor(four, ir.Constant(_I32, _SIGNS))
            vector = _spread(builder, lower)
            for slot, plane in zip(row, planes, strict=True):
                builder.store(multiply(builder, builder.load(slot), vector, plane), slot)
    for i, row in enumerate(sums):
        for j, (slot, column) in enumerate(zip(row, columns, strict=True)):
            whole = builder.shl(builder.load(column), ir.Constant(_SUMS, [1] * _SUMS.count))
            target = at(builder, _SUMS, out, (out_step, i), (1, _REGISTER * j))
            builder.store(builder.add(builder.load(slot), whole), target, align=4)


def _spread(builder: ir.IRBuilder, four: ir.Value) -> ir.Value:
    """Repeat four bytes in all lanes."""
    undefined = ir.Constant(_SUMS, ir.Undefined)
    first = builder.insert_element(undefined, four, ir.Constant(_I32, 0))
    zeros = ir.Constant(_SUMS, [0] * _SUMS.count)
    return builder.bitcast(builder.shuffle_vector(first, undefined, zeros), _BYTES)


def _tile(
    _: Typing, x: Typing, x_step: Typing, w: Typing, k4: Typing, out: Typing, out_step: Typing
) -> Build:  # fmt: skip
    """Multiply 4 vectors with a panel."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        emit(builder, *args)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), build


tile: Callable[..., None] = intrinsic(_tile)


@jit
def product(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    """As `cimsim.kernels.products.product`."""
    x0, w0, out0 = x.ctypes.data, planes.ctypes.data, out.ctypes.data
    x_step, w_step, out_step = x.shape[1], planes.shape[1] * _LINE, out.shape[1] * 4
    for t in range(parts.shape[0]):
        first, deep = parts[t, 2], parts[t, 3] - parts[t, 2]
        for p in range(parts[t, 0], parts[t, 0] + parts[t, 1]):
            v, w, o = x0 + 4 * first, w0 + p * w_step + _LINE * first, out0 + p * _LINE
            for b in range(0, n, ROWS):
                tile(v + b * x_step, x_step, w, deep, o + b * out_step, out_step)
