"""Arrays without a count of their references.

Taking an array out of a tuple costs two atomic operations, and a kernel that handles a few thousand
numbers at a time with records of arrays does dozens of them for each: a twentieth of its time.

Lists of arrays of any number reach compiled code as addresses and shapes in one array of integers
(`record`, `lent_1` ...): as tuples, every number of them would be compiled anew.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

from cimsim.kernels.arrays import Int64
from cimsim.kernels.emit import Build, Typing, at

Held = TypeVar("Held")
Array = TypeVar("Array", bound=NDArray[np.generic])


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


def address_of(array: NDArray[np.generic]) -> int:
    """Return where an array's memory begins; of size 1 or more."""
    if array.flags.carray:  # takes a third of the time of what follows
        return ctypes.addressof(ctypes.c_char.from_buffer(cast("memoryview", array)))
    address: int = array.__array_interface__["data"][0]
    return address


def record(array: NDArray[np.generic], dims: int = 0) -> list[int]:
    """Return address and shape of an array, and 0 up to ``dims`` dimensions.

    Whoever keeps them keeps the array, too. What is empty has address 0.

    Raises
    ------
    ValueError
        For an array that does not lie in one piece, row by row.
    """
    if not array.size:
        return [0, *array.shape, *[0] * (dims - array.ndim)]
    if not array.flags.c_contiguous:
        raise ValueError(f"expected an array in C order, got strides {array.strides}")
    return [address_of(array), *array.shape, *[0] * (dims - array.ndim)]


class Lending(Protocol):
    """Returns the array whose `record` begins at ``records[first]``, of the type of ``like``."""

    def __call__(self, records: Int64, first: int, like: Array) -> Array:
        """Return it."""
        ...


def _packed(builder: ir.IRBuilder, values: list[ir.Value]) -> ir.Value:
    """Emit an array of values."""
    return cgutils.pack_array(builder, values)  # type: ignore[no-untyped-call]


def _lending(dims: int) -> Lending:
    """Make the function that returns the array of ``dims`` dimensions that a record describes."""

    @intrinsic
    def lent(_: Typing, records: Typing, first: Typing, like: Typing) -> Build:
        """Build what `Lending` says."""
        kind = types.Array(like.dtype, dims, "C")

        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            held = context.make_array(records)(context, builder, args[0])
            i64 = ir.IntType(64)
            base = builder.ptrtoint(held.data, i64)
            fields = [
                builder.load(at(builder, i64, base, (args[1], 8), (1, 8 * i)))
                for i in range(dims + 1)
            ]
            size = context.get_abi_sizeof(context.get_data_type(like.dtype))
            strides = [ir.Constant(i64, size)]
            for extent in fields[:1:-1]:
                strides.insert(0, builder.mul(strides[0], extent))
            array = context.make_array(kind)(context, builder)
            populate_array(  # type: ignore[no-untyped-call]
                array, builder.inttoptr(fields[0], array.data.type),
                _packed(builder, fields[1:]), _packed(builder, strides), ir.Constant(i64, size),
                None,
            )  # fmt: skip
            return array._getvalue()

        return kind(records, types.intp, like), build

    return cast(Lending, lent)


lent_1, lent_2, lent_3, lent_4 = map(_lending, (1, 2, 3, 4))
