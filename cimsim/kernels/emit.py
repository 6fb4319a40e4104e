"""Pieces of machine code that the kernels with instructions of their own share."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

_I64 = ir.IntType(64)


def at(builder: Any, kind: Any, base: Any, *steps: tuple[Any, Any]) -> Any:
    """Return a pointer to a ``kind`` at ``base`` plus the products of the steps, in bytes.

    Factors are values of 64 bits or numbers.
    """
    for step, number in steps:
        both = [part if isinstance(part, ir.Value) else ir.Constant(_I64, part)
                for part in (step, number)]  # fmt: skip
        base = builder.add(base, builder.mul(*both))
    return builder.inttoptr(base, kind.as_pointer())


def slots(builder: Any, kind: Any, n_rows: int, n_cols: int) -> list[list[Any]]:
    """Return places for sums that begin at zero; the compiler keeps them in registers."""
    zero = ir.Constant(kind, [0] * kind.count)
    found = [
        [cgutils.alloca_once(builder, kind) for _ in range(n_cols)]  # type: ignore[no-untyped-call]
        for _ in range(n_rows)
    ]
    for slot in (slot for row in found for slot in row):
        builder.store(zero, slot)
    return found
