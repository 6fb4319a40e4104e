"""Sums over rows that are driven by single bits, looked up instead of multiplied.

Five bits have 32 patterns, and ``vpermw`` of AVX-512 BW looks up 32 numbers of 16 bits in a table
of 32 at once (Intel Architecture Instruction Set Extensions Reference, "VPERMW"): one lookup and
one addition stand for 160 products, twice as many as `cimsim.kernels.vnni` does in the same time.
Sums of up to 255 rows of bytes fit 16 bits, whatever the bits are; 130 rows are summed before they
are widened. Results are the very integers of the product.

One bit of one vector is a lane. Lanes are taken four registers of 32 at a time, columns 16 at a
time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.kernels.arrays import Bytes, Codes, Int32, Int64, Packed
from cimsim.kernels.emit import Build, Typing, fetch
from cimsim.kernels.products import HAS_VNNI, LANES, lines, unpack

HAS_LOOKUP = HAS_VNNI and bool(llvm.get_host_cpu_features().get("avx512bw"))
ROWS = 5  # of one table
CHUNK = 26  # tables summed in 16 bits, which 51 fit (255 rows of 128), and 26 the nearest cache
TILE = 128  # lanes
MOST_ROWS = 2**16  # whose sums of two planes fit 32 bits
_LINE, _REGISTERS, _WORDS = 64, 4, 32
Words: TypeAlias = NDArray[np.int16]
Values: TypeAlias = list[ir.Value]
Kernel: TypeAlias = Callable[..., None]
_STORED = 12  # numbers that a table is stored as


def pack(planes: tuple[Packed, ...], n_rows: int) -> Words:
    """Return planes as tables of sums.

    A table of five rows is stored as the 8 sums of the first three and the 4 sums of the others.

    Parameters
    ----------
    planes : tuple of int8 [panels, k4, 16, 4]
        From `cimsim.kernels.products.pack`, all of one shape.
    n_rows : int

    Returns
    -------
    int16 [panels, chunks, 16, groups, n_planes, 12]
        In the order in which they are read; groups of a chunk that sum nothing hold zeros.
    """
    chunks = -(-n_rows // (ROWS * CHUNK))
    chunk = -(-n_rows // (ROWS * chunks))  # of equal size: each costs the same to widen
    n_groups = chunks * chunk
    width = LANES * planes[0].shape[0]
    rows = np.zeros((len(planes), n_groups * ROWS, width), np.int16)
    for plane, packed in zip(rows, planes, strict=True):
        plane[:n_rows] = unpack(packed)[:n_rows]
    parts = rows.reshape(len(planes), n_groups, ROWS, width)
    tables = np.zeros((width, n_groups, len(planes), _STORED), np.int16)
    for first, last, place in ((0, 3, 0), (3, ROWS, 8)):
        for pattern in range(2 ** (last - first)):
            driven = [row for row in range(first, last) if pattern >> (row - first) & 1]
            sums = parts[:, :, driven].sum(axis=2, dtype=np.int16)
            tables[..., place + pattern] = sums.transpose(2, 1, 0)
    order = tables.reshape(-1, LANES, chunks, chunk, len(planes), _STORED)
    return np.ascontiguousarray(order.transpose(0, 2, 1, 3, 4, 5))


@intrinsic
def _expand(_: Typing, stored: Typing, count: Typing, out: Typing) -> Build:
    """Write ``count`` whole tables of 64 bytes; addresses in bytes, ``out`` on a line.

    As many that follow are fetched into the nearest cache.
    """

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: Values) -> ir.Value:
        source, number, sink = args
        with cgutils.for_range(builder, number) as loop:
            at = builder.add(source, builder.mul(loop.index, ir.Constant(_I64, 2 * _STORED)))
            fetch(builder, builder.add(at, builder.mul(number, ir.Constant(_I64, 2 * _STORED))))
            low = _load(builder, ir.VectorType(_I16, 8), at, 8)
            high = _load(builder, ir.VectorType(_I16, 4), _plus(builder, at, 16), 8)
            whole = builder.add(
                _shuffle(builder, low, low, [i % 8 for i in range(_WORDS)]),
                _shuffle(builder, high, high, [i // 8 for i in range(_WORDS)]),
            )
            to = builder.add(sink, builder.mul(loop.index, ir.Constant(_I64, _LINE)))
            _store(builder, whole, to, _LINE)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), build


def _tile(n_planes: int) -> Kernel:
    """Make the innermost loop for one column of ``n_planes`` planes and 128 lanes."""

    @intrinsic
    def tile(
        _: Typing, tables: Typing, index: Typing, step: Typing, groups: Typing, out: Typing,
        planes: Typing,
    ) -> Build:  # fmt: skip
        """Addresses and steps in bytes."""

        def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: Values) -> ir.Value:
            _emit_sums(builder, args, n_planes)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), build

    return tile


def _emit_sums(builder: ir.IRBuilder, args: Values, n_planes: int) -> None:
    """Write the loop: look the sums of every group up, add in 16 bits; at last add to 32 bits."""
    tables, index, step, groups, out, plane_step = args
    words = ir.VectorType(_I16, _WORDS)
    look_up = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(words, [words, words]), "llvm.x86.avx512.permvar.hi.512"
    )
    slots = [[_slot(builder, words) for _ in range(_REGISTERS)] for _ in range(n_planes)]
    for row in slots:
        for slot in row:
            builder.store(ir.Constant(words, [0] * _WORDS), slot)
    with cgutils.for_range(builder, groups) as loop:
        line = builder.add(tables, builder.mul(loop.index, ir.Constant(_I64, n_planes * _LINE)))
        at = builder.add(index, builder.mul(loop.index, step))
        bits = [_load(builder, words, _plus(builder, at, r * _LINE), 2) for r in range(_REGISTERS)]
        for p, row in enumerate(slots):
            table = _load(builder, words, _plus(builder, line, p * _LINE), _LINE)
            for slot, pattern in zip(row, bits, strict=True):
                found = builder.call(look_up, [table, pattern])
                builder.store(builder.add(builder.load(slot), found), slot)
    wide, half = ir.VectorType(_I32, LANES), list(range(LANES))
    for p, row in enumerate(slots):
        to = builder.add(out, builder.mul(plane_step, ir.Constant(_I64, p)))
        for r, slot in enumerate(row):
            total = builder.load(slot)
            for h in range(2):
                part = _shuffle(builder, total, total, [LANES * h + i for i in half])
                place = _plus(builder, to, (2 * r + h) * _LINE)
                before = _load(builder, wide, place, 4)
                _store(builder, builder.add(before, builder.sext(part, wide)), place, 4)


def _transpose(joined: bool) -> Kernel:
    """Make the function that turns 16 rows of 16 sums into columns side by side.

    It takes the addresses of the sums and, if they are to be joined, of their high plane (what
    counts 256), the bytes between rows, and where the results go.
    """

    @intrinsic
    def transpose(_: Typing, low: Typing, high: Typing, step: Typing, out: Typing) -> Build:
        def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: Values) -> ir.Value:
            _emit_transpose(builder, args, joined)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), build

    return transpose


def _emit_transpose(builder: ir.IRBuilder, args: Values, joined: bool) -> None:
    low, high, step, out = args
    kind = ir.VectorType(_I32, LANES)
    rows = []
    for i in range(LANES):
        ahead = builder.mul(step, ir.Constant(_I64, i))
        row = _load(builder, kind, builder.add(low, ahead), 4)
        if joined:
            above = _load(builder, kind, builder.add(high, ahead), 4)
            row = builder.add(row, builder.shl(above, ir.Constant(kind, [8] * LANES)))
        rows.append(row)
    halves = [[h * 8 + i // 2 + LANES * (i % 2) for i in range(LANES)] for h in range(2)]
    for _ in range(4):  # each round interleaves the rows that lie eight apart
        rows = [_shuffle(builder, rows[i], rows[i + 8], half) for i in range(8) for half in halves]
    for i, row in enumerate(rows):
        _store(builder, row, _plus(builder, out, i * _LINE), 4)


_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


def _slot(builder: ir.IRBuilder, kind: ir.Type) -> ir.Value:
    return cgutils.alloca_once(builder, kind)  # type: ignore[no-untyped-call]


def _plus(builder: ir.IRBuilder, address: ir.Value, bytes_on: int) -> ir.Value:
    return builder.add(address, ir.Constant(_I64, bytes_on))


def _load(builder: ir.IRBuilder, kind: ir.Type, address: ir.Value, align: int) -> ir.Value:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, align: int) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)


def _shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(_I32, len(lanes)), lanes)
    return builder.shuffle_vector(a, b, mask)


_tile_1, _tile_2, _tile_3 = _tile(1), _tile(2), _tile(3)
_turn, _turn_joined = _transpose(joined=False), _transpose(joined=True)


@jit
def aligned(n: int) -> Bytes:
    """Return ``n`` zero bytes at an address that is a multiple of 64."""
    memory = lines(n)
    memory[:] = 0
    return memory


@jit
def groups_of(tables: Words) -> int:
    """Return the number of groups of rows, empty ones included."""
    return int(tables.shape[1] * tables.shape[3])


@jit
def patterns(bits: Codes, places: Int64, out: NDArray[np.uint16]) -> None:
    """Write down which of five rows at a time are driven.

    Parameters
    ----------
    bits : uint8, uint16 or uint32 [5 * groups, V]
        Codes of ``V`` vectors.
    places : int64 [P]
        Which bit of the codes drives the rows, for each pulse.
    out : uint16 [groups, >= P * V]
        Lane ``p * V + v``: bits of rows 0 .. 4 of the group in bits 0 .. 4; what stands above is
        not looked at.
    """
    n = np.uint64(bits.shape[1])
    for g in range(np.uint64(out.shape[0])):
        k = g * np.uint64(5)
        for p in range(np.uint64(places.shape[0])):
            bit, first = bits.dtype.type(np.uint32(1) << np.uint32(places[p])), p * n
            for v in range(n):  # tests, not shifts: the loop stays as narrow as the codes
                found = np.uint16(1) if bits[k, v] & bit else np.uint16(0)
                found |= np.uint16(2) if bits[k + np.uint64(1), v] & bit else np.uint16(0)
                found |= np.uint16(4) if bits[k + np.uint64(2), v] & bit else np.uint16(0)
                found |= np.uint16(8) if bits[k + np.uint64(3), v] & bit else np.uint16(0)
                found |= np.uint16(16) if bits[k + np.uint64(4), v] & bit else np.uint16(0)
                out[g, first + v] = found


@jit
def sum_panel(
    index: NDArray[np.uint16], tables: Words, joined: bool, whole: Bytes, part: Int32, out: Int32
) -> None:
    """Sum the rows of 16 columns up.

    Parameters
    ----------
    index : uint16 [groups, lanes]
        From `patterns`; ``lanes`` is a multiple of 128.
    tables : int16 [chunks, 16, groups of a chunk, n_planes, 12]
        Of a panel, from `pack`.
    joined : bool
        Whether the first two planes are the high and the low part of one number.
    whole : uint8 [CHUNK * n_planes * 64]
        Scratch, from `aligned`.
    part : int32 [n_planes, 16, lanes]
        Scratch.
    out : int32 [n_planes or, joined, n_planes - 1; lanes * 16]
        ``bits @ plane``; of joined planes ``bits @ (256 * high + low)``.
    """
    chunks, _, groups, n_planes, _ = tables.shape
    lanes = index.shape[1]
    step, plane_step = 2 * lanes, 16 * lanes * 4
    part[:] = 0
    # addresses are taken once: each time costs two atomic counts
    stored, table, sums = tables.ctypes.data, whole.ctypes.data, part.ctypes.data
    index0, out0 = index.ctypes.data, out.ctypes.data
    for chunk in range(chunks):
        for c in range(16):
            _expand(stored, groups * n_planes, table)  # type: ignore[call-arg]
            stored += groups * n_planes * _STORED * 2
            for lane in range(0, lanes, TILE):
                start = index0 + chunk * groups * step + 2 * lane
                to = sums + (c * lanes + lane) * 4
                if n_planes == 3:
                    _tile_3(table, start, step, groups, to, plane_step)
                elif n_planes == 2:
                    _tile_2(table, start, step, groups, to, plane_step)
                else:
                    _tile_1(table, start, step, groups, to, plane_step)
    for p in range(out.shape[0]):
        plane = sums + (n_planes - out.shape[0] + p) * plane_step
        for lane in range(0, 4 * lanes, 64):
            sink = out0 + 64 * (p * lanes + lane // 4)
            if p == 0 and joined:
                _turn_joined(sums + plane_step + lane, sums + lane, 4 * lanes, sink)
            else:
                _turn(plane + lane, plane + lane, 4 * lanes, sink)
