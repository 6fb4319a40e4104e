"""Numbers that threads of compiled code share, and how one waits for what another has done.

Who waits looks again and again, for a few microseconds are what it takes: going to sleep and being
woken takes longer. After that it gives way to whoever else wants the core.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.jit import jit, jit_held
from cimsim.kernels.arrays import Int64
from cimsim.kernels.emit import Build, Typing

_LOOKS = 500  # before giving way; some ten microseconds
_I64 = ir.IntType(64)
_PAUSES = {  # tells the processor that a loop only waits: name and arguments
    "x86_64": ("llvm.x86.sse2.pause", []),
    "AMD64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [1]),
    "arm64": ("llvm.aarch64.hint", [1]),
}


def _place(context: Typing, builder: ir.IRBuilder, kind: Typing, args: list[ir.Value]) -> ir.Value:
    """Emit the address of one of the numbers of an array."""
    held = context.make_array(kind)(context, builder, args[0])
    return builder.gep(held.data, [args[1]])


def _count_on(_: Typing, numbers: Typing, place: Typing) -> Build:
    """Return a number of an array int64 [n] and add one to it, whoever else does so."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        where = _place(context, builder, numbers, args)
        return builder.atomic_rmw("add", where, ir.Constant(_I64, 1), "seq_cst")

    return types.int64(numbers, types.intp), build


def _seen(_: Typing, numbers: Typing, place: Typing) -> Build:
    """Return a number of an array int64 [n]; what was written before it was told is there, too."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        where = _place(context, builder, numbers, args)
        return builder.load_atomic(where, "acquire", 8)

    return types.int64(numbers, types.intp), build


def _pause(_: Typing) -> Build:
    """Wait for a moment."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        name, given = _PAUSES.get(platform.machine(), ("", []))
        if name:
            i32 = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [i32] * len(given))
            call = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
            builder.call(call, [ir.Constant(i32, one) for one in given])
        return context.get_dummy_value()

    return types.void(), build


def _give_way(_: Typing) -> Build:
    """Let another thread have the core, if one wants it (POSIX)."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        if sys.platform != "win32":
            kind = ir.FunctionType(ir.IntType(32), [])
            call = cgutils.get_or_insert_function(builder.module, kind, "sched_yield")  # type: ignore[no-untyped-call]
            builder.call(call, [])
        return context.get_dummy_value()

    return types.void(), build


count_on = cast("Callable[[Int64, int], int]", intrinsic(_count_on))
seen = cast("Callable[[Int64, int], int]", intrinsic(_seen))
_pausing = cast("Callable[[], None]", intrinsic(_pause))
_giving_way = cast("Callable[[], None]", intrinsic(_give_way))


@jit
def wait(looks: int) -> int:
    """Wait for a moment, the longer the oftener one has looked in vain; returns ``looks`` + 1."""
    if looks < _LOOKS:
        _pausing()
    else:
        _giving_way()
    return looks + 1


@jit_held
def tell(numbers: Int64, place: int) -> int:
    """Count one on, from Python; returns what was there."""
    return count_on(numbers, place)
