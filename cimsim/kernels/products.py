"""Integer products of unsigned 8-bit inputs and signed 8-bit planes, exact in 32 bits.

Instructions for bytes (`cimsim.kernels.vnni`, `cimsim.kernels.avx2`, `cimsim.kernels.neon`) do them
where the processor has them. Elsewhere the same integers come from a float32 product that is cut so
short that its sums stay exact: results do not depend on the machine.

For the instructions planes are packed as ``[panels, k4, 16, 4]``: 16 columns side by side, four
rows in the bytes of one lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from cimsim.errors import ConfigError
from cimsim.jit import FORCED, jit
from cimsim.kernels import avx2, neon, vnni
from cimsim.kernels.arrays import LINE, Bytes, Int32, Int64, Packed, empty
from cimsim.kernels.emit import Build, Typing, fetch

LANES = 16  # 32-bit sums in one register
BYTES = 4  # products in one sum
ROWS = 96  # vectors of one call at most: whole tiles of 6, 8 and 12 rows
_WASTE = 1.25  # products of panels taken together over those of each alone
_EXACT = 512  # products of 255 * 128 whose sum float32 still holds exactly (2**24)


Arithmetic: TypeAlias = Literal["vnni", "avxvnni", "avx2", "neon", "generic"]
NEEDED: dict[Arithmetic, tuple[str, ...]] = {
    "vnni": ("avx512vnni", "avx512f"),
    "avxvnni": ("avxvnni", "avx2"),
    "avx2": ("avx2",),
    "neon": ("dotprod",),
    "generic": (),
}


def arithmetic(wanted: str = FORCED) -> Arithmetic:
    """Return the instructions that this process may compile for, the widest first.

    Parameters
    ----------
    wanted : str
        Of the environment variable ``CIMSIM_ARITHMETIC``: those to take although there are wider
        ones; empty: choose.

    Raises
    ------
    ConfigError
        Instructions that are unknown or that the processor lacks.
    """
    chosen = vars(numba.config)
    # who has chosen another target for numba is not given this processor's instructions
    own = not (chosen["CPU_NAME"] or chosen["CPU_FEATURES"] is not None)
    features = llvm.get_host_cpu_features() if own else {}
    found = [name for name, needed in NEEDED.items() if all(map(features.get, needed))]
    if not wanted:
        return found[0]
    for name in found:
        if name == wanted:
            return name
    if wanted in NEEDED:
        raise ConfigError(f"CIMSIM_ARITHMETIC: expected one of {', '.join(found)} here, which has "
                          f"no {wanted}; unset it to take {found[0]}")  # fmt: skip
    raise ConfigError(
        f"CIMSIM_ARITHMETIC: expected one of {', '.join(NEEDED)}, got {wanted}"
    )  # fmt: skip


ARITHMETIC = arithmetic()
HAS_VNNI = ARITHMETIC == "vnni"
PACKED = ARITHMETIC != "generic"
_MOST_PANELS = vnni.MOST_PANELS if HAS_VNNI else avx2.MOST_PANELS


def pack(plane: NDArray[np.int8]) -> Packed:
    """Return a plane int8 [n_rows, n_cols] as `product` reads it, padded with zeros.

    Returns
    -------
    int8 [panels, k4, 16, 4] at an address that is a multiple of 64; without instructions float32
    [4 k4, 16 panels]
    """
    n_rows, n_cols = plane.shape
    k4, panels = -(-n_rows // BYTES), -(-n_cols // LANES)
    padded = np.zeros((k4 * BYTES, panels * LANES), np.int8)
    padded[:n_rows, :n_cols] = plane
    if not PACKED:
        return padded.astype(np.float32)
    packed = padded.reshape(k4, BYTES, panels, LANES).transpose(2, 0, 3, 1)
    return _aligned(packed)


def unpack(packed: Packed) -> NDArray[np.int8]:
    """Return the plane int8 [4 k4, 16 panels] that `pack` packed, with its padding."""
    if not PACKED:
        return packed.astype(np.int8)
    panels, k4 = packed.shape[:2]
    return packed.transpose(1, 3, 0, 2).reshape(k4 * BYTES, panels * LANES).astype(np.int8)


def _aligned(packed: NDArray[np.int8]) -> NDArray[np.int8]:
    """Copy to an address that is a multiple of 64."""
    out = empty(packed.shape, np.int8)
    out[:] = packed
    return out


@jit
def lines(size: int) -> Bytes:
    """Return memory of compiled code that begins at a line of the caches, bytes."""
    memory = np.empty(size + LINE, np.uint8)
    first = -np.int64(memory.ctypes.data) % LINE
    return memory[first : first + size]


def _copy_four(_: Typing, source: Typing, sink: Typing) -> Build:
    """Copy four bytes from one address to another, wherever they lie."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        start, end = (builder.inttoptr(at, ir.IntType(32).as_pointer()) for at in args)
        builder.store(builder.load(start, align=1), end, align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), build


copy_four: Callable[..., None] = intrinsic(_copy_four)


def _fetch_line(_: Typing, source: Typing) -> Build:
    """Have the line of an address fetched into the second cache: the nearest one is in use."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        fetch(builder, args[0], 2)
        return context.get_dummy_value()

    return types.void(types.uint64), build


fetch_line: Callable[..., None] = intrinsic(_fetch_line)


def tiles(*packed: Packed) -> Int64:
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
    if not PACKED:
        return np.empty((0, 4), np.int64)
    used = np.logical_or.reduce([plane.any(axis=(2, 3)) for plane in planes])
    k4 = used.shape[1]
    begins = np.where(used.any(axis=1), used.argmax(axis=1), k4)
    ends = np.where(used.any(axis=1), k4 - used[:, ::-1].argmax(axis=1), 0)
    found, p = [], 0
    while p < len(used):
        for count in range(min(_MOST_PANELS, len(used) - p), 0, -1):
            first, end = int(begins[p : p + count].min()), int(ends[p : p + count].max())
            needed = np.maximum(ends[p : p + count] - begins[p : p + count], 0).mean()
            if count == 1 or end - first <= _WASTE * needed:
                break
        found.append((p, count, min(first, end), end))
        p += count
    return np.array(found, np.int64)


@jit
def _product_float(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    part, depth = np.empty((n, out.shape[1]), np.float32), planes.shape[0]
    vectors = x[:n, :depth].astype(np.float32)
    out[:n] = 0
    for start in range(0, depth, _EXACT):
        stop = min(start + _EXACT, depth)
        cut = np.ascontiguousarray(vectors[:, start:stop])
        np.dot(cut, planes[start:stop], part)
        out[:n] += part.astype(np.int32)


_PRODUCTS = {
    "vnni": vnni.product,
    "avxvnni": vnni.product_256,
    "avx2": avx2.product,
    "neon": neon.product,
    "generic": _product_float,
}
_product = _PRODUCTS[ARITHMETIC]


@jit
def product(x: Bytes, planes: Packed, parts: Int64, n: int, bit: int, out: Int32) -> None:
    """Multiply vectors with packed planes.

    Parameters
    ----------
    x : uint8 [96, 4 * k4 or more]
        Rows without a vector may hold anything.
    planes : ndarray
        From `pack`.
    parts : int64 [n_parts, 4]
        From `tiles`.
    n : int
        Vectors, at most 96.
    bit : int
        All inputs are 0 or two to this power; negative: they may be anything.
    out : int32 [96, 16 * panels]
        ``x @ plane``; 0 in padded columns, anything in rows without a vector.
    """
    _product(x, planes, parts, n, bit, out)
