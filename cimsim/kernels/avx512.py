"""Products of bytes by AVX-512 VNNI.

One instruction, ``vpdpbusd``, multiplies 64 pairs of bytes and adds them up in groups of four
(Intel Architecture Instruction Set Extensions Reference, "VPDPBUSD").
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.jit import jit
from cimsim.kernels.emit import at, slots

LANES = 16  # 32-bit sums in one register
_LINE = 64  # bytes; a register of planes must not straddle two cache lines


def _tile(n_rows: int, n_panels: int) -> Any:
    """Make the innermost loop for ``n_rows`` vectors and ``n_panels`` panels held in registers."""

    @intrinsic
    def tile(
        _: Any, x: Any, x_step: Any, w: Any, w_step: Any, k4: Any, out: Any, out_step: Any
    ) -> Any:
        """Addresses and steps in bytes."""

        def build(context: Any, builder: Any, _: Any, args: Any) -> Any:
            _emit(builder, args, n_rows, n_panels)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), build

    return tile


def _emit(builder: Any, args: Any, n_rows: int, n_panels: int) -> None:
    """Write the loop: load panels, broadcast four bytes of each vector, multiply and add."""
    x, x_step, w, w_step, k4, out, out_step = args
    i32 = ir.IntType(32)
    register = ir.VectorType(i32, LANES)
    product = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module,
        ir.FunctionType(register, [register, register, register]),
        "llvm.x86.avx512.vpdpbusd.512",
    )
    undefined, zero = ir.Constant(register, ir.Undefined), ir.Constant(register, [0] * LANES)
    sums = slots(builder, register, n_rows, n_panels)
    with cgutils.for_range(builder, k4) as loop:
        panels = [
            builder.load(at(builder, register, w, (w_step, j), (loop.index, _LINE)), align=_LINE)
            for j in range(n_panels)
        ]
        for i, row in enumerate(sums):
            four = builder.load(at(builder, i32, x, (x_step, i), (loop.index, 4)), align=1)
            first = builder.insert_element(undefined, four, ir.Constant(i32, 0))
            spread = builder.shuffle_vector(first, undefined, zero)
            for slot, panel in zip(row, panels, strict=True):
                builder.store(builder.call(product, [builder.load(slot), spread, panel]), slot)
    for i, row in enumerate(sums):
        for j, slot in enumerate(row):
            target = at(builder, register, out, (out_step, i), (1, j * LANES * 4))
            builder.store(builder.load(slot), target, align=4)


# as many sums as fit into 32 registers beside the panels and one vector
_tile_1, _tile_2, _tile_3, _tile_4 = _tile(12, 1), _tile(12, 2), _tile(8, 3), _tile(6, 4)
MOST_PANELS = 4


@jit
def product(x: Any, planes: Any, parts: Any, n: int, bit: int, out: Any) -> None:
    """As `cimsim.kernels.products.product`."""
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
