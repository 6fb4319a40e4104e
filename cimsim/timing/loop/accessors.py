"""What compiled code does with records: loads and stores by name, and the checked build.

Numba passes an array to a function as seven values and tests each index for being negative; the
event loop, which reads some hundred words for a window, took twice as long with that. Here a record
is the address of the memory and that of its first word in it, a table these and its count, and
``node.windows`` one load. What is not used costs nothing: all of this is inlined.

With ``CIMSIM_CHECKED=1`` in the environment, read at import, each access asserts that its word is
one of this very field (`cimsim.timing.loop.layout` writes behind the records what each word is),
each index that it lies inside its table, and each store that the field may go from the old to the
new value. `CorruptMemory` names record, field and index. The builds are compiled and cached apart,
since the names of their types differ.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.base import BaseContext
from numba.core.datamodel.manager import DataModelManager
from numba.core.datamodel.models import StructModel
from numba.core.datamodel.registry import register_default
from numba.core.pythonapi import _UnboxContext
from numba.core.typing.context import BaseContext as TypingContext
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    Signature,
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
    CorruptMemory,
    Legal,
    Record,
    Word,
    anything,
)

_PREFIX = "checked " if CHECKED else ""
R = TypeVar("R", bound=Record)
# writes the instructions of a call
Build = Callable[[BaseContext, ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value]


class Struct(Protocol):
    """A record or a table while instructions are written: the values that it is made of."""

    base: ir.Value
    address: ir.Value
    count: ir.Value

    def _getvalue(self) -> ir.Value: ...


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
    def __init__(self, manager: DataModelManager, kind: types.Type) -> None:
        members = [("base", types.int64), ("address", types.int64)]
        super().__init__(manager, kind, members)


@register_default(TableType)
class _TableModel(StructModel):
    def __init__(self, manager: DataModelManager, kind: types.Type) -> None:
        members = [("base", types.int64), ("address", types.int64), ("count", types.int64)]
        super().__init__(manager, kind, members)


# --- what things are --------------------------------------------------------------------------


@typeof_impl.register(Record)
def _typeof(record: Record, _: object) -> RecordType:
    return RecordType(type(record))


def _field(table: TableType) -> Word:
    return table.owner.fields[table.field]


def _type_of(field: Word) -> types.Type:
    if field.kind == "int":
        return types.int64
    if field.kind == "ref":
        assert field.record is not None
        return RecordType(field.record)
    return TableType(field.owner, field.name)


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
    def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Signature | None:
        if isinstance(args[0], TableType):
            made: Signature = signature(_type_of_element(args[0]), args[0], types.int64)
            return made
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Signature | None:
        if isinstance(args[0], TableType) and _field(args[0]).kind != "rows":
            kinds = types.int64, _type_of_element(args[0])
            made: Signature = signature(types.none, args[0], *kinds)
            return made
        return None


@infer_global(len)
class _Len(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Signature | None:
        return signature(types.int64, args[0]) if isinstance(args[0], TableType) else None


@infer_global(operator.truth)
@infer_global(operator.not_)
class _Truth(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Signature | None:
        return signature(types.boolean, args[0]) if isinstance(args[0], RecordType) else None


def reference(record: type[R]) -> Callable[[Record, int], R]:
    """Return a function ``f(other, address)``: the record at an address of the other's memory."""

    def at(other: Record, address: int) -> R:
        return record(other.words, address)

    @type_callable(at)
    def _typed(_: TypingContext) -> Callable[[types.Type, types.Type], RecordType]:
        return lambda other, address: RecordType(record)

    @lower_builtin(at, RecordType, types.Integer)
    def _lowered(
        context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        other = _struct(context, builder, sig.args[0], args[0])
        return _made(context, builder, sig.return_type, other.base, args[1])

    return at


def first(record: type[R]) -> Callable[[Record], R]:
    """Return a function ``f(other)``: the record with which the other's memory begins."""

    def at(other: Record) -> R:
        return record(other.words, 0)

    @type_callable(at)
    def _typed(_: TypingContext) -> Callable[[types.Type], RecordType]:
        return lambda other: RecordType(record)

    @lower_builtin(at, RecordType)
    def _lowered(
        context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        base = _struct(context, builder, sig.args[0], args[0]).base
        return _made(context, builder, sig.return_type, base, base.type(0))

    return at


def _kept_apart(context: TypingContext) -> tuple[Signature, Build]:
    """Keep the function in which this stands out of those that call it.

    What happens rarely would cost what happens often its registers.
    """

    def build(
        context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), build


# numba types an intrinsic by the function that writes its instructions, not by its calls
kept_apart = cast(Callable[[], None], intrinsic(_kept_apart))


# --- what they do -----------------------------------------------------------------------------


def _struct(
    context: BaseContext, builder: ir.IRBuilder, kind: types.Type, value: ir.Value | None = None
) -> Struct:
    made: Struct = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    return made


def _made(
    context: BaseContext,
    builder: ir.IRBuilder,
    kind: types.Type,
    base: ir.Value,
    address: ir.Value,
    count: ir.Value | None = None,
) -> ir.Value:
    made = _struct(context, builder, kind)
    made.base, made.address = base, address
    if count is not None:
        made.count = count
    return made._getvalue()


def _word(builder: ir.IRBuilder, base: ir.Value, place: ir.Value) -> ir.Value:
    start = builder.inttoptr(base, base.type.as_pointer())
    return builder.gep(start, [place], inbounds=True)


def _plus(builder: ir.IRBuilder, value: ir.Value, number: int) -> ir.Value:
    return builder.add(value, value.type(number)) if number else value


def _load_word(
    context: TypingContext, base: types.Type, place: types.Type
) -> tuple[Signature, Build]:
    """Return a word."""

    def build(
        context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        return builder.load(_word(builder, *args))

    return types.int64(types.int64, types.int64), build


_load = cast(Callable[[int, int], int], intrinsic(_load_word))


def _store_word(
    context: TypingContext, base: types.Type, place: types.Type, value: types.Type
) -> tuple[Signature, Build]:
    """Set a word."""

    def build(
        context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        builder.store(args[2], _word(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), build


_put = cast(Callable[[int, int, int], None], intrinsic(_store_word))


def _assert_own(base: int, place: int, code: int) -> None:
    """Raise unless a word is inside the memory and what its code says."""
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


def _call(
    context: BaseContext, builder: ir.IRBuilder, function: Callable[..., None], *args: ir.Value
) -> None:
    kinds = (types.boolean if arg.type.width == 1 else types.int64 for arg in args)
    context.compile_internal(builder, function, signature(types.none, *kinds), args)


def _place(
    context: BaseContext, builder: ir.IRBuilder, base: ir.Value, place: ir.Value, code: ir.Value
) -> ir.Value:
    """Return the pointer to a word; in a checked build one with this code."""
    if CHECKED:
        _call(context, builder, _assert_own, base, place, code)
    return _word(builder, base, place)


def _store(
    context: BaseContext,
    builder: ir.IRBuilder,
    base: ir.Value,
    place: ir.Value,
    code: ir.Value,
    value: ir.Value,
    legal: Legal,
) -> None:
    """Set a word; in a checked build only to what may follow the value it has."""
    word = _place(context, builder, base, place, code)
    if CHECKED and legal is not anything:
        sig = signature(types.boolean, types.int64, types.int64)
        good = context.compile_internal(builder, legal, sig, (builder.load(word), value))
        good = builder.trunc(good, ir.IntType(1))
        _call(context, builder, _assert_that, base, good, code, code.type(NOT_LEGAL), place)
    builder.store(value, word)


@lower_getattr_generic(RecordType)
def _get_field(
    context: BaseContext, builder: ir.IRBuilder, kind: RecordType, value: ir.Value, name: str
) -> ir.Value:
    record = _struct(context, builder, kind, value)
    if name == "address":
        return record.address
    field = kind.record.fields[name]
    place, kind_of_field = _plus(builder, record.address, field.offset), _type_of(field)
    code = place.type(field.code)
    if field.length:
        return _made(context, builder, kind_of_field, record.base, place, place.type(field.length))
    first = builder.load(_place(context, builder, record.base, place, code))
    if field.kind == "int":
        return first
    if field.kind == "ref":
        return _made(context, builder, kind_of_field, record.base, first)
    place, code = _plus(builder, place, 1), _plus(builder, code, 1)
    count = builder.load(_place(context, builder, record.base, place, code))
    return _made(context, builder, kind_of_field, record.base, first, count)


@lower_setattr_generic(RecordType)
def _set_field(
    context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value], name: str
) -> None:
    record = _struct(context, builder, sig.args[0], args[0])
    field, value = sig.args[0].record.fields[name], args[1]
    if field.kind == "ref":
        value = _struct(context, builder, sig.args[1], value).address
    place = _plus(builder, record.address, field.offset)
    code = place.type(field.code)
    _store(context, builder, record.base, place, code, value, field.legal)


def _element(
    context: BaseContext, builder: ir.IRBuilder, kind: TableType, value: ir.Value, index: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
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


def _code(builder: ir.IRBuilder, field: Word, index: ir.Value) -> ir.Value:
    if field.length:
        return _plus(builder, index, field.code)
    return index.type(field.elements)


@lower_builtin(operator.getitem, TableType, types.Integer)
def _get_item(
    context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
) -> ir.Value:
    kind = sig.args[0]
    base, place, index = _element(context, builder, kind, *args)
    if _field(kind).kind == "rows":
        return _made(context, builder, sig.return_type, base, place)
    code = _code(builder, _field(kind), index)
    held = builder.load(_place(context, builder, base, place, code))
    if _field(kind).kind == "refs":
        return _made(context, builder, sig.return_type, base, held)
    return held


@lower_builtin(operator.setitem, TableType, types.Integer, RecordType)
@lower_builtin(operator.setitem, TableType, types.Integer, types.Integer)
def _set_item(
    context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
) -> ir.Value:
    table, index, value = args
    kind = sig.args[0]
    if isinstance(sig.args[2], RecordType):
        value = _struct(context, builder, sig.args[2], value).address
    base, place, index = _element(context, builder, kind, table, index)
    code = _code(builder, _field(kind), index)
    _store(context, builder, base, place, code, value, _field(kind).legal)
    return context.get_dummy_value()


@lower_builtin(len, TableType)
def _len(
    context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
) -> ir.Value:
    return _struct(context, builder, sig.args[0], args[0]).count


@lower_builtin(bool, RecordType)
@lower_builtin(operator.truth, RecordType)
def _truth(
    context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
) -> ir.Value:
    address = _struct(context, builder, sig.args[0], args[0]).address
    return builder.icmp_signed("!=", address, address.type(0))


@lower_builtin(operator.not_, RecordType)
def _not(
    context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]
) -> ir.Value:
    return builder.not_(_truth(context, builder, sig, args))


@unbox(RecordType)
def _unbox(kind: RecordType, record: ir.Value, c: _UnboxContext) -> NativeValue:
    unboxed = _struct(c.context, c.builder, kind)
    for name in ("base", "address"):
        value = c.pyapi.object_getattr_string(record, name)
        setattr(unboxed, name, c.unbox(types.int64, value).value)
        c.pyapi.decref(value)
    failed = cgutils.is_not_null(c.builder, c.pyapi.err_occurred())
    return NativeValue(unboxed._getvalue(), is_error=failed)
