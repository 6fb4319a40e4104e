"""Products of bytes by the instructions VNNI of AVX-512 and of AVX.

One instruction, ``vpdpbusd``, multiplies 64 pairs of bytes and adds them up in groups of four
(Intel Architecture Instruction Set Extensions Reference, "VPDPBUSD"). Processors without 512-bit
registers that have AVX-VNNI do 32 pairs with it.
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

LANES = 16  # 32-bit sums of a panel
_LINE = 64  # bytes; a register of planes must not straddle two cache lines
Tile: TypeAlias = Callable[..., None]


def _tile(lanes: int, n_rows: int, n_panels: int) -> Tile:
    """Make the innermost loop for ``n_rows`` vectors and ``n_panels`` panels held in registers.

    Registers hold ``lanes`` sums: 16, or 8 where a panel takes two of them.
    """

    @intrinsic
    def tile(
        _: Typing, x: Typing, x_step: Typing, w: Typing, w_step: Typing, k4: Typing, out: Typing,
        out_step: Typing,
    ) -> Build:  # fmt: skip
        """Addresses and steps in bytes."""

        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            _emit(builder, args, lanes, n_rows, n_panels)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), build

    return tile


def _emit(
    builder: ir.IRBuilder, args: list[ir.Value], lanes: int, n_rows: int, n_panels: int
) -> None:  # fmt: skip
    """Write the loop: load panels, broadcast four bytes of each vector, multiply and add."""
    x, x_step, w, w_step, k4, out, out_step = args
    i32 = ir.IntType(32)
    register = ir.VectorType(i32, lanes)
    product = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module,
        ir.FunctionType(register, [register, register, register]),
        f"llvm.x86.avx512.vpdpbusd.{32 * lanes}",
    )
    undefined, zero = ir.Constant(register, ir.Undefined), ir.Constant(register, [0] * lanes)
    parts, size = LANES // lanes, 4 * lanes  # registers of a panel, bytes of one
    places = [(j, h * size) for j in range(n_panels) for h in range(parts)]
    sums = slots(builder, register, n_rows, len(places))
    with cgutils.for_range(builder, k4) as loop:
        panels = [
            builder.load(
                at(builder, register, w, (w_step, j), (loop.index, _LINE), (1, first)), align=size
            )
            for j, first in places
        ]
        for i, row in enumerate(sums):
            four = builder.load(at(builder, i32, x, (x_step, i), (loop.index, 4)), align=1)
            one = builder.insert_element(undefined, four, ir.Constant(i32, 0))
            spread = builder.shuffle_vector(one, undefined, zero)
            for slot, panel in zip(row, panels, strict=True):
                builder.store(builder.call(product, [builder.load(slot), spread, panel]), slot)
    for i, row in enumerate(sums):
        for (j, first), slot in zip(places, row, strict=True):
            target = at(builder, register, out, (out_step, i), (1, j * _LINE + first))
            builder.store(builder.load(slot), target, align=4)


# as many sums as fit into 32 registers beside the panels and one vector
_tile_1, _tile_2, _tile_3, _tile_4 = (
    _tile(LANES, n_rows, n_panels) for n_rows, n_panels in ((12, 1), (12, 2), (8, 3), (6, 4))
)
MOST_PANELS = 4
_half = _tile(LANES // 2, 6, 1)  # 12 sums in 16 registers, beside two halves of a panel


@jit
def product(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    """As `cimsim.kernels.products.product`, by 512 bits."""
    k4 = planes.shape[1]
    x0, w0, out0 = x.ctypes.data, planes.ctypes.data, out.ctypes.data
    x_step, w_step, out_step = x.shape[1], k4 * 64, out.shape[1] * 4
    for t in range(parts.shape[0]):
        p, count, first, end = parts[t, 0], parts[t, 1], parts[t, 2], parts[t, 3]
        v, w, o, deep = x0 + 4 * first, w0 + p * w_step + 64 * first, out0 + p * 64, end - first
        if count == 4:
            for b in range(0, n, 6):
                _tile_4(v + b * x_step, x_step, w, w_step, deep, o + b * out_step, out_step)
        elif count == 3:
            for b in range(0, n, 8):
                _tile_3(v + b * x_step, x_step, w, w_step, deep, o + b * out_step, out_step)
        elif count == 2:
            for b in range(0, n, 12):
                _tile_2(v + b * x_step, x_step, w, w_step, deep, o + b * out_step, out_step)
        else:
            for b in range(0, n, 12):
                _tile_1(v + b * x_step, x_step, w, w_step, deep, o + b * out_step, out_step)


@jit
def product_256(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    """As `cimsim.kernels.products.product`, by 256 bits; one panel at a time."""
    x0, w0, out0 = x.ctypes.data, planes.ctypes.data, out.ctypes.data
    x_step, w_step, out_step = x.shape[1], planes.shape[1] * 64, out.shape[1] * 4
    for t in range(parts.shape[0]):
        first, deep = parts[t, 2], parts[t, 3] - parts[t, 2]
        for p in range(parts[t, 0], parts[t, 0] + parts[t, 1]):
            v, w, o = x0 + 4 * first, w0 + p * w_step + 64 * first, out0 + p * 64
            for b in range(0, n, 6):
                _half(v + b * x_step, x_step, w, w_step, deep, o + b * out_step, out_step)
