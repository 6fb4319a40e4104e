"""Pieces of machine code that the kernels with instructions of their own share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import cgutils

Typing: TypeAlias = Any  # what numba hands an intrinsic: its contexts, types, signatures
Build: TypeAlias = tuple[Typing, Callable[..., ir.Value]]  # what an intrinsic gives numba
_I64 = ir.IntType(64)


def at(
    builder: ir.IRBuilder, kind: ir.Type, base: ir.Value,
    *steps: tuple[ir.Value | int, ir.Value | int],
) -> ir.Value:  # fmt: skip
    """Return a pointer to a ``kind`` at ``base`` plus the products of the steps, in bytes.

    Factors are values of 64 bits or numbers.
    """
    for step, number in steps:
        both = [part if isinstance(part, ir.Value) else ir.Constant(_I64, part)
                for part in (step, number)]  # fmt: skip
        base = builder.add(base, builder.mul(*both))
    return builder.inttoptr(base, kind.as_pointer())


def slots(
    builder: ir.IRBuilder, kind: ir.VectorType, n_rows: int, n_cols: int
) -> list[list[ir.Value]]:  # fmt: skip
    """Return places for sums that begin at zero; the compiler keeps them in registers."""
    zero = ir.Constant(kind, [0] * kind.count)
    found = [
        [cgutils.alloca_once(builder, kind) for _ in range(n_cols)]  # type: ignore[no-untyped-call]
        for _ in range(n_rows)
    ]
    for slot in (slot for row in found for slot in row):
        builder.store(zero, slot)
    return found


def fetch(builder: ir.IRBuilder, address: ir.Value, level: int = 1) -> None:
    """Fetch the line of an address into the nearest cache, or one further; nothing waits for it."""
    pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
    call = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, "llvm.prefetch.p0i8"
    )
    read, near, data = ir.Constant(i32, 0), ir.Constant(i32, 4 - level), ir.Constant(i32, 1)
    builder.call(call, [builder.inttoptr(address, pointer), read, near, data])
