"""Arrays without a count of their references, for loops that many functions are called in.

Taking an array out of a tuple costs two atomic operations, and a kernel that handles a few thousand
numbers at a time with records of arrays does dozens of them for each: a twentieth of its time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimsim.kernels.emit import Build, Typing

Held = TypeVar("Held")


def _borrowed(_: Typing, held: Typing) -> Build:
    """Return arrays, or tuples of arrays and numbers, whose references nobody counts.

    For as long as somebody else holds them: who makes arrays passes them on beside their borrowed
    twins, since a variable's arrays are freed after its last use.
    """

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        return _uncounted(context, builder, held, args[0])

    return held(held), build


def _uncounted(context: Typing, builder: ir.IRBuilder, kind: Typing, value: ir.Value) -> ir.Value:
    """Emit a copy of a value whose arrays, however deep in tuples, name no owner."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = ir.Constant(array.meminfo.type, None)
        array.parent = ir.Constant(array.parent.type, None)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, part in enumerate(cast("tuple[Typing, ...]", kind)):
            inner = _uncounted(context, builder, part, builder.extract_value(value, i))
            value = builder.insert_value(value, inner, i)
    return value


borrowed = cast("Callable[[Held], Held]", intrinsic(_borrowed))
