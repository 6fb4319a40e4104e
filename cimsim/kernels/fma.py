"""Fused multiply-add, written out: compiled code fuses nowhere else, so bits stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cimsim.kernels.emit import Build, Typing

Number = TypeVar("Number")


def _fma(_: Typing, a: Typing, b: Typing, c: Typing) -> Build | None:
    """Return ``a * b + c``, rounded once, for float32 or float64 alike.

    An instruction where the processor has one, else a library's function with the same result.
    """
    if not (a == b == c and isinstance(a, types.Float)):
        return None

    def build(_: Typing, builder: ir.IRBuilder, __: Typing, args: list[ir.Value]) -> ir.Value:
        return fused(builder, *args)

    return a(a, a, a), build


fma = cast("Callable[[Number, Number, Number], Number]", intrinsic(_fma))


def fused(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Emit ``a * b + c`` of floats or vectors of floats, rounded once."""
    kind = a.type
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    name = "f64" if isinstance(scalar, ir.DoubleType) else "f32"
    name = f"v{kind.count}{name}" if isinstance(kind, ir.VectorType) else name
    call = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.{name}"
    )
    return builder.call(call, [a, b, c])
