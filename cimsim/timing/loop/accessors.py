"""What compiled code does with records: loads and stores by name, and the checked build.

Numba passes an array to a function as seven values and tests each index for being negative; the
event loop, which reads some hundred cells for a window, took twice as long with that. Here a record
is the address of the memory and that of its first cell in it, a table these and its count, and
``unit.windows`` one load. What is not used costs nothing: all of this is inlined.

With ``CIMSIM_CHECKED=1`` in the environment, read at import, each access asserts that its cell is
one of this very field (`cimsim.timing.loop.layout` writes behind the records what each cell is),
each index that it lies inside its table, and each store that the field may go from the old to the
new value. `CorruptMemory` names record, field and index. The builds are compiled and cached apart,
since the names of their types differ.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel.models import StructModel
from numba.core.datamodel.registry import register_default
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import (
    NativeValue,
    intrinsic,
    lower_builtin,
    lower_getattr_generic,
    lower_setattr_generic,
    type_callable,
    typeof_impl,
    unbox,
)

from cimsim.timing.loop.schema import (
    CHECKED,
    NOT_LEGAL,
    OUTSIDE_TABLE,
    Cell,
    CorruptMemory,
    Record,
    anything,
)

_PREFIX = "checked " if CHECKED else ""
R = TypeVar("R", bound=Record)


class RecordType(types.Type):
    """A record in compiled code."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        super().__init__(f"{_PREFIX}{record.__name__}")


class TableType(types.Type):
    """A field that is a table, in compiled code."""

    def __init__(self, owner: type[Record], name: str) -> None:
        self.owner, self.field = owner, name
        super().__init__(f"{_PREFIX}{owner.__name__}.{name}")


@register_default(RecordType)
class _RecordModel(StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        members = [("base", types.int64), ("address", types.int64)]
        super().__init__(manager, kind, members)


@register_default(TableType)
class _TableModel(StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        members = [("base", types.int64), ("address", types.int64), ("count", types.int64)]
        super().__init__(manager, kind, members)


# --- what things are --------------------------------------------------------------------------


@typeof_impl.register(Record)
def _typeof(record: Record, _: Any) -> RecordType:
    return RecordType(type(record))


def _field(table: TableType) -> Cell:
    return table.owner.fields[table.field]


def _type_of(field: Cell) -> types.Type:
    if field.kind == "int":
        return types.int64
    return (
        RecordType(cast(type[Record], field.record))
        if field.kind == "ref"
        else TableType(field.owner, field.name)
    )


def _type_of_element(table: TableType) -> types.Type:
    record = _field(table).record
    return types.int64 if record is None else RecordType(record)


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    key = RecordType

    def generic_resolve(  # type: ignore[override]
        self, kind: RecordType, name: str
    ) -> types.Type | None:
        if name == "address":
            return types.int64
        field = kind.record.fields.get(name)
        return None if field is None else _type_of(field)


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], TableType):
            return signature(_type_of_element(args[0]), args[0], types.int64)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], TableType) and _field(args[0]).kind != "rows":
            return signature(types.none, args[0], types.int64, _type_of_element(args[0]))
        return None


@infer_global(len)
class _Len(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.int64, args[0]) if isinstance(args[0], TableType) else None


@infer_global(operator.truth)
@infer_global(operator.not_)
class _Truth(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.boolean, args[0]) if isinstance(args[0], RecordType) else None


def reference(record: type[R]) -> Callable[[Record, int], R]:
    """Return a function ``f(other, address)``: the record at an address of the other's memory."""

    def at(other: Record, address: int) -> R:
        return record(other.cells, address)

    @type_callable(at)
    def _typed(_: Any) -> Any:
        return lambda other, address: RecordType(record)

    @lower_builtin(at, RecordType, types.Integer)
    def _lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        other = _struct(context, builder, sig.args[0], args[0])
        return _made(context, builder, sig.return_type, other.base, args[1])

    return at


def first(record: type[R]) -> Callable[[Record], R]:
    """Return a function ``f(other)``: the record with which the other's memory begins."""

    def at(other: Record) -> R:
        return record(other.cells, 0)

    @type_callable(at)
    def _typed(_: Any) -> Any:
        return lambda other: RecordType(record)

    @lower_builtin(at, RecordType)
    def _lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = _struct(context, builder, sig.args[0], args[0]).base
        return _made(context, builder, sig.return_type, base, base.type(0))

    return at


def _kept_apart(context: Any) -> Any:
    """Keep the function in which this stands out of those that call it.

    What happens rarely would cost what happens often its registers.
    """

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), build


kept_apart: Any = intrinsic(_kept_apart)


# --- what they do -----------------------------------------------------------------------------


def _struct(context: Any, builder: Any, kind: Any, value: Any = None) -> Any:
    return cgutils.create_struct_proxy(kind)(context, builder, value=value)


def _made(context: Any, builder: Any, kind: Any, base: Any, address: Any, count: Any = None) -> Any:
    found = _struct(context, builder, kind)
    found.base, found.address = base, address
    if count is not None:
        found.count = count
    return found._getvalue()


def _cell(builder: Any, base: Any, place: Any) -> Any:
    start = builder.inttoptr(base, base.type.as_pointer())
    return builder.gep(start, [place], inbounds=True)


def _plus(builder: Any, value: Any, number: int) -> Any:
    return builder.add(value, value.type(number)) if number else value


def _load_cell(context: Any, base: Any, place: Any) -> Any:
    """Return a cell."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_cell(builder, *args))

    return types.int64(types.int64, types.int64), build


_load: Any = intrinsic(_load_cell)


def _store_cell(context: Any, base: Any, place: Any, value: Any) -> Any:
    """Set a cell."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _cell(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), build


_put: Any = intrinsic(_store_cell)


def _assert_own(base: int, place: int, code: int) -> None:
    """Raise unless a cell is inside the memory and what its code says."""
    kept_apart()
    total = _load(base, 0)
    wrong = 0
    if 0 <= place < total:
        if _load(base, total + place) == code:
            return
        wrong = 1
    _put(base, 2 * total, code)
    _put(base, 2 * total + 1, wrong)
    _put(base, 2 * total + 2, place)
    raise CorruptMemory


def _assert_that(base: int, good: bool, code: int, wrong: int, number: int) -> None:
    """Raise unless something is so."""
    kept_apart()
    if not good:
        total = _load(base, 0)
        _put(base, 2 * total, code)
        _put(base, 2 * total + 1, wrong)
        _put(base, 2 * total + 2, number)
        raise CorruptMemory


def _call(context: Any, builder: Any, function: Any, *args: Any) -> None:
    kinds = (types.boolean if arg.type.width == 1 else types.int64 for arg in args)
    context.compile_internal(builder, function, signature(types.none, *kinds), args)


def _place(context: Any, builder: Any, base: Any, place: Any, code: Any) -> Any:
    """Return the pointer to a cell; in a checked build one with this code."""
    if CHECKED:
        _call(context, builder, _assert_own, base, place, code)
    return _cell(builder, base, place)


def _store(
    context: Any, builder: Any, base: Any, place: Any, code: Any, value: Any, legal: Any
) -> None:
    """Set a cell; in a checked build only to what may follow the value it has."""
    cell = _place(context, builder, base, place, code)
    if CHECKED and legal is not anything:
        sig = signature(types.boolean, types.int64, types.int64)
        good = context.compile_internal(builder, legal, sig, (builder.load(cell), value))
        good = builder.trunc(good, ir.IntType(1))
        _call(context, builder, _assert_that, base, good, code, code.type(NOT_LEGAL), place)
    builder.store(value, cell)


@lower_getattr_generic(RecordType)
def _get_field(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    record = _struct(context, builder, kind, value)
    if name == "address":
        return record.address
    field = kind.record.fields[name]
    place, found = _plus(builder, record.address, field.offset), _type_of(field)
    code = place.type(field.code)
    if field.length:
        return _made(context, builder, found, record.base, place, place.type(field.length))
    first = builder.load(_place(context, builder, record.base, place, code))
    if field.kind == "int":
        return first
    if field.kind == "ref":
        return _made(context, builder, found, record.base, first)
    place, code = _plus(builder, place, 1), _plus(builder, code, 1)
    count = builder.load(_place(context, builder, record.base, place, code))
    return _made(context, builder, found, record.base, first, count)


@lower_setattr_generic(RecordType)
def _set_field(context: Any, builder: Any, sig: Any, args: Any, name: str) -> None:
    record = _struct(context, builder, sig.args[0], args[0])
    field, value = sig.args[0].record.fields[name], args[1]
    if field.kind == "ref":
        value = _struct(context, builder, sig.args[1], value).address
    place = _plus(builder, record.address, field.offset)
    code = place.type(field.code)
    _store(context, builder, record.base, place, code, value, field.legal)


def _element(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> tuple[Any, Any, Any]:
    """Return an element's memory, its address and the index inside the table."""
    table, field = _struct(context, builder, kind, value), _field(kind)
    if field.kind == "ring":
        index = builder.and_(index, builder.sub(table.count, table.count.type(1)))
    if CHECKED:
        inside = builder.icmp_unsigned("<", index, table.count)
        code, wrong = index.type(field.code), index.type(OUTSIDE_TABLE)
        _call(context, builder, _assert_that, table.base, inside, code, wrong, index)
    each = field.record.size if field.kind == "rows" and field.record else 1
    step = builder.mul(index, index.type(each)) if each > 1 else index
    return table.base, builder.add(table.address, step), index


def _code(builder: Any, field: Cell, index: Any) -> Any:
    if field.length:
        return _plus(builder, index, field.code)
    return index.type(field.elements)


@lower_builtin(operator.getitem, TableType, types.Integer)
def _get_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = sig.args[0]
    base, place, index = _element(context, builder, kind, *args)
    if _field(kind).kind == "rows":
        return _made(context, builder, sig.return_type, base, place)
    code = _code(builder, _field(kind), index)
    found = builder.load(_place(context, builder, base, place, code))
    if _field(kind).kind == "refs":
        return _made(context, builder, sig.return_type, base, found)
    return found


@lower_builtin(operator.setitem, TableType, types.Integer, RecordType)
@lower_builtin(operator.setitem, TableType, types.Integer, types.Integer)
def _set_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    table, index, value = args
    kind = sig.args[0]
    if isinstance(sig.args[2], RecordType):
        value = _struct(context, builder, sig.args[2], value).address
    base, place, index = _element(context, builder, kind, table, index)
    code = _code(builder, _field(kind), index)
    _store(context, builder, base, place, code, value, _field(kind).legal)
    return context.get_dummy_value()


@lower_builtin(len, TableType)
def _len(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _struct(context, builder, sig.args[0], args[0]).count


@lower_builtin(bool, RecordType)
@lower_builtin(operator.truth, RecordType)
def _truth(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    address = _struct(context, builder, sig.args[0], args[0]).address
    return builder.icmp_signed("!=", address, address.type(0))


@lower_builtin(operator.not_, RecordType)
def _not(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.not_(_truth(context, builder, sig, args))


@unbox(RecordType)
def _unbox(kind: Any, record: Any, c: Any) -> Any:
    found = _struct(c.context, c.builder, kind)
    for name in ("base", "address"):
        value = c.pyapi.object_getattr_string(record, name)
        setattr(found, name, c.unbox(types.int64, value).value)
        c.pyapi.decref(value)
    failed = cgutils.is_not_null(c.builder, c.pyapi.err_occurred())
    return NativeValue(found._getvalue(), is_error=failed)
