"""Cells of one int64 array by address, as cheap as in C.

Numba passes an array to a function as seven values and tests each index for being negative; the
event loop, which reads some hundred cells for a window, took twice as long with that. Here an array
is a pointer, taken once; addresses come from `cimsim.timing.tables` and are never out of range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:  # what they are to their callers

    def pointer(cells: Any) -> int:
        """Return the address of ``cells[0]``, which must outlive its use."""

    def get(base: int, address: int) -> int:
        """Return cell ``address``."""

    def put(base: int, address: int, value: int) -> None:
        """Set cell ``address``."""

    def add(base: int, address: int, value: int) -> int:
        """Add to cell ``address`` and return the sum."""

else:

    @intrinsic
    def pointer(context: Any, cells: Any) -> Any:
        """Return the address of ``cells[0]``, which must outlive its use."""

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, values[0])
            return builder.ptrtoint(array.data, context.get_value_type(types.int64))

        return types.int64(cells), build

    @intrinsic
    def get(context: Any, base: Any, address: Any) -> Any:
        """Return cell ``address``."""

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.load(_cell(builder, values))

        return types.int64(types.int64, types.int64), build

    @intrinsic
    def put(context: Any, base: Any, address: Any, value: Any) -> Any:
        """Set cell ``address``."""

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            builder.store(values[2], _cell(builder, values))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), build

    @intrinsic
    def add(context: Any, base: Any, address: Any, value: Any) -> Any:
        """Add to cell ``address`` and return the sum."""

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            cell = _cell(builder, values)
            found = builder.add(builder.load(cell), values[2])
            builder.store(found, cell)
            return found

        return types.int64(types.int64, types.int64, types.int64), build


def _cell(builder: Any, values: Any) -> Any:
    start = builder.inttoptr(values[0], values[0].type.as_pointer())
    return builder.gep(start, [values[1]], inbounds=True)
