"""Fused multiply-add, written out: compiled code fuses nowhere else, so bits stay the same."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


def _fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once, for float32 or float64 alike.

    An instruction where the processor has one, else a library's function with the same result.
    """
    if not (a == b == c and isinstance(a, types.Float)):
        return None

    def build(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return fused(builder, *args)

    return a(a, a, a), build


fma: Any = intrinsic(_fma)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit ``a * b + c`` of floats or vectors of floats, rounded once."""
    kind = a.type
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    name = "f64" if isinstance(scalar, ir.DoubleType) else "f32"
    name = f"v{kind.count}{name}" if isinstance(kind, ir.VectorType) else name
    call = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.{name}"
    )
    return builder.call(call, [a, b, c])
