"""Integer products of unsigned 8-bit inputs and signed 8-bit planes, exact in 32 bits.

One instruction of AVX-512 VNNI, ``vpdpbusd``, multiplies 64 pairs of bytes and adds them up in
groups of four (Intel Architecture Instruction Set Extensions Reference, "VPDPBUSD"). Where it is
missing the same integers come from a float32 product that is cut so short that its sums stay exact:
results do not depend on the machine.

For the instruction planes are packed as ``[panels, k4, 16, 4]``: 16 columns side by side, four
rows in the bytes of one lane.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from cimsim.jit import jit

LANES = 16  # 32-bit sums in one register
BYTES = 4  # products in one sum
ROWS = 96  # vectors of one call at most: whole tiles of 6, 8 and 12 rows
_LINE = 64  # bytes; a register of planes must not straddle two cache lines
_WASTE = 1.25  # products of panels taken together over those of each alone
_EXACT = 512  # products of 255 * 128 whose sum float32 still holds exactly (2**24)


def has_vnni() -> bool:
    """Whether this process may compile for AVX-512 VNNI."""
    chosen = vars(numba.config)
    if chosen["CPU_NAME"] or chosen["CPU_FEATURES"] is not None:
        return False  # the user has chosen another target
    features = llvm.get_host_cpu_features()
    return bool(features.get("avx512vnni") and features.get("avx512f"))


HAS_VNNI = has_vnni()


def pack(plane: NDArray[np.int8]) -> NDArray[Any]:
    """Return a plane int8 [n_rows, n_cols] as `product` reads it, padded with zeros.

    Returns
    -------
    int8 [panels, k4, 16, 4] at an address that is a multiple of 64; without the instruction float32
    [4 k4, 16 panels]
    """
    n_rows, n_cols = plane.shape
    k4, panels = -(-n_rows // BYTES), -(-n_cols // LANES)
    padded = np.zeros((k4 * BYTES, panels * LANES), np.int8)
    padded[:n_rows, :n_cols] = plane
    if not HAS_VNNI:
        return padded.astype(np.float32)
    packed = padded.reshape(k4, BYTES, panels, LANES).transpose(2, 0, 3, 1)
    return _aligned(packed)


def unpack(packed: NDArray[Any]) -> NDArray[np.int8]:
    """Return the plane int8 [4 k4, 16 panels] that `pack` packed, with its padding."""
    if not HAS_VNNI:
        return packed.astype(np.int8)
    panels, k4 = packed.shape[:2]
    return packed.transpose(1, 3, 0, 2).reshape(k4 * BYTES, panels * LANES)


def _aligned(packed: NDArray[np.int8]) -> NDArray[np.int8]:
    """Copy to an address that is a multiple of 64."""
    raw = np.empty(packed.size + _LINE, np.int8)
    first = -raw.ctypes.data % _LINE
    out = raw[first : first + packed.size].reshape(packed.shape)
    out[:] = packed
    return out


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
    i32, i64 = ir.IntType(32), ir.IntType(64)
    register = ir.VectorType(i32, LANES)
    product = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module,
        ir.FunctionType(register, [register, register, register]),
        "llvm.x86.avx512.vpdpbusd.512",
    )
    undefined, zero = ir.Constant(register, ir.Undefined), ir.Constant(register, [0] * LANES)

    def place(base: Any, step: Any, number: int) -> Any:
        return builder.add(base, builder.mul(step, ir.Constant(i64, number)))

    sums = [[_slot(builder, register) for _ in range(n_panels)] for _ in range(n_rows)]
    for row in sums:
        for slot in row:
            builder.store(zero, slot)
    with cgutils.for_range(builder, k4) as loop:
        line = builder.mul(loop.index, ir.Constant(i64, _LINE))
        quad = builder.mul(loop.index, ir.Constant(i64, BYTES))
        panels = []
        for j in range(n_panels):
            pointer = builder.inttoptr(
                builder.add(place(w, w_step, j), line), register.as_pointer()
            )
            panels.append(builder.load(pointer, align=_LINE))
        for i in range(n_rows):
            pointer = builder.inttoptr(builder.add(place(x, x_step, i), quad), i32.as_pointer())
            four = builder.load(pointer, align=1)
            first = builder.insert_element(undefined, four, ir.Constant(i32, 0))
            spread = builder.shuffle_vector(first, undefined, zero)
            for j in range(n_panels):
                total = builder.call(product, [builder.load(sums[i][j]), spread, panels[j]])
                builder.store(total, sums[i][j])
    for i in range(n_rows):
        for j in range(n_panels):
            target = builder.add(place(out, out_step, i), ir.Constant(i64, j * LANES * BYTES))
            pointer = builder.inttoptr(target, register.as_pointer())
            builder.store(builder.load(sums[i][j]), pointer, align=BYTES)


def _copy_four(_: Any, source: Any, sink: Any) -> Any:
    """Copy four bytes from one address to another, wherever they lie."""

    def build(context: Any, builder: Any, _: Any, args: Any) -> Any:
        start, end = (builder.inttoptr(at, ir.IntType(32).as_pointer()) for at in args)
        builder.store(builder.load(start, align=1), end, align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), build


copy_four: Any = intrinsic(_copy_four)


def _slot(builder: Any, kind: Any) -> Any:
    return cgutils.alloca_once(builder, kind)  # type: ignore[no-untyped-call]


# as many sums as fit into 32 registers beside the panels and one vector
_TILES = _tile_1, _tile_2, _tile_3, _tile_4 = (
    _tile(12, 1), _tile(12, 2), _tile(8, 3), _tile(6, 4),
)  # fmt: skip


def tiles(*packed: NDArray[Any]) -> NDArray[np.int64]:
    """Say which panels of planes are multiplied together, and which of their rows hold anything.

    Panels are taken four at a time unless their rows differ much: a block-diagonal matrix costs
    little more than its blocks.

    Parameters
    ----------
    packed : ndarray
        Planes of one matrix from `pack`; those of size 0 do not count.

    Returns
    -------
    int64 [n, 4]
        First panel, panels (1 to 4), first group of four rows and end of them.
    """
    planes = [plane for plane in packed if plane.size]
    if not HAS_VNNI:
        return np.empty((0, 4), np.int64)
    used = np.logical_or.reduce([plane.any(axis=(2, 3)) for plane in planes])
    k4 = used.shape[1]
    begins = np.where(used.any(axis=1), used.argmax(axis=1), k4)
    ends = np.where(used.any(axis=1), k4 - used[:, ::-1].argmax(axis=1), 0)
    found, p = [], 0
    while p < len(used):
        for count in range(min(len(_TILES), len(used) - p), 0, -1):
            first, end = int(begins[p : p + count].min()), int(ends[p : p + count].max())
            needed = np.maximum(ends[p : p + count] - begins[p : p + count], 0).mean()
            if count == 1 or end - first <= _WASTE * needed:
                break
        found.append((p, count, min(first, end), end))
        p += count
    return np.array(found, np.int64)


@jit
def _product_vnni(x: Any, planes: Any, parts: Any, n: int, out: Any) -> None:
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
def _product_float(x: Any, planes: Any, parts: Any, n: int, out: Any) -> None:
    part = np.empty((n, out.shape[1]), np.float32)
    vectors = x[:n].astype(np.float32)
    out[:n] = 0
    for start in range(0, x.shape[1], _EXACT):
        stop = min(start + _EXACT, x.shape[1])
        cut = np.ascontiguousarray(vectors[:, start:stop])
        np.dot(cut, planes[start:stop], part)
        out[:n] += part.astype(np.int32)


_product = _product_vnni if HAS_VNNI else _product_float


@jit
def product(x: Any, planes: Any, parts: Any, n: int, out: Any) -> None:
    """Multiply vectors with packed planes.

    Parameters
    ----------
    x : uint8 [96, 4 * k4]
        Rows without a vector may hold anything.
    planes : ndarray
        From `pack`.
    parts : int64 [n_parts, 4]
        From `tiles`.
    n : int
        Vectors, at most 96.
    out : int32 [96, 16 * panels]
        ``x @ plane``; 0 in padded columns, anything in rows without a vector.
    """
    _product(x, planes, parts, n, out)
