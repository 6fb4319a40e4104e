"""Records in one int64 array, each declared once: fields, meaning, what may be written.

A record is a class whose annotations say what its fields are, a `word` what each means:

=================  ===============================================================================
``int``            one number
another record     a reference: the address of that record's first word; 0, the header's, is none
``Rows[R]``        records one behind the other: address and count
``Refs[R]``        references to records, likewise
``Numbers``        numbers, likewise
``Ring``           numbers, likewise, a power of two of them: any index is taken modulo that
=================  ===============================================================================

With ``length`` the elements of ``Rows`` or ``Numbers`` stand in the record itself. From the
declaration follow the places of all words, these views for Python, columns of tables
(`cimsim.timing.loop.layout`) and what compiled code does (`cimsim.timing.loop.accessors`): there
``node.windows`` is one load from the same memory, checked if the build is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints, overload

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Legal = Callable[[int, int], bool]
R = TypeVar("R", bound="Record")
CHECKED = os.environ.get("CIMSIM_CHECKED", "") not in ("", "0")


_WORDS: list[Word] = []  # by code
OUTSIDE_TABLE, NOT_LEGAL = 2, 3
_WRONG = (
    "word {number} is outside of the memory",
    "word {number} is none of this field",
    "index {number} is outside of the table",
    "word {number} may not go from the value it has to the new one ({legal})",
)


class CorruptMemory(AssertionError):
    """The event loop left its records, or a field the values that may follow each other.

    Compiled code raises it without a text and leaves its numbers behind the records.
    """

    @classmethod
    def read(cls, words: Ints) -> CorruptMemory:
        """Return the error that says record, field and index."""
        total = int(words[0])
        code, wrong, number = words[2 * total : 2 * total + 3].tolist()
        field = _WORDS[abs(code)]
        what = _WRONG[wrong].format(number=number, legal=field.legal.__name__)
        return cls(f"{field.title}: {what}")


def fixed(old: int, new: int) -> bool:
    """Whether a number may change that stands from the beginning: no."""
    return False


def anything(old: int, new: int) -> bool:
    """Whether a number may change that may be any: yes."""
    return True


@dataclass(eq=False)
class Word:
    """One field of a record.

    Attributes
    ----------
    meaning : str
    legal : callable
        ``legal(old, new)``: whether compiled code may write ``new`` over ``old``.
    length : int
        Elements that stand in the record; 0: address and count of them do.
    owner : type of Record
    name : str
    kind : {"int", "ref", "rows", "refs", "numbers", "ring"}
    record : type of Record or None
        That a reference or a table is of.
    offset, size : int
        Place in the record and words taken.
    code : int
        Number of the first word among all words of all records, from 1.
    """

    meaning: str
    legal: Legal = fixed
    length: int = 0
    owner: type[Record] = field(init=False)
    name: str = ""
    kind: str = "int"
    record: type[Record] | None = None
    offset: int = 0
    size: int = 1
    code: int = 0

    @property
    def title(self) -> str:
        """Record and field."""
        return f"{self.owner.__name__}.{self.name}"

    @property
    def elements(self) -> int:
        """Number that marks a word of the table to which the field points."""
        return -self.code

    @overload
    def __get__(self, record: None, _: type[Record]) -> Word: ...
    @overload
    def __get__(self, record: Record, _: type[Record]) -> int | Record | Rows[Record] | Numbers: ...
    def __get__(
        self, record: Record | None, _: type[Record]
    ) -> Word | int | Record | Rows[Record] | Numbers:
        if record is None:
            return self
        place, words = record.address + self.offset, record.words
        if self.kind == "int":
            return int(words[place])
        if self.kind == "ref":
            assert self.record is not None
            return self.record(words, int(words[place]))
        start, count = place, self.length
        if not self.length:
            start, count = int(words[place]), int(words[place + 1])
        if self.record is None:
            return _NUMBERS[self.kind](words, start, count)
        return _RECORDS[self.kind](words, start, count, self.record)

    def __set__(self, record: Record, value: int | Record) -> None:
        if self.kind not in ("int", "ref"):
            raise AttributeError(f"{self.title} is a table, set its elements")
        place = record.address + self.offset
        record.words[place] = value.address if isinstance(value, Record) else value


Declared = TypeVar("Declared")


def word(meaning: str, legal: Legal = fixed, length: int = 0) -> Declared:  # type: ignore[type-var]
    """Declare a field of a record: a `Word`, whatever stands in the annotation."""
    return Word(meaning, legal, length)  # type: ignore[return-value]


class Record:
    """A view of one record.

    Parameters
    ----------
    words : int64 [...]
        The memory.
    address : int
        Of the record's first word.
    """

    fields: ClassVar[dict[str, Word]] = {}
    size: ClassVar[int] = 0

    def __init__(self, words: Ints, address: int) -> None:
        self.words, self.address = words, address
        self.base = int(words.ctypes.data)

    def __bool__(self) -> bool:
        return self.address != 0


class Rows(Generic[R]):
    """Records one behind the other."""

    def __init__(self, words: Ints, address: int, count: int, record: type[R]) -> None:
        self.words, self.address, self.count, self.record = words, address, count, record

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> R:
        return self.record(self.words, self.address + _inside(index, self.count) * self.record.size)


class Refs(Rows[R]):
    """References to records."""

    def __getitem__(self, index: int) -> R:
        return self.record(self.words, int(self.words[self.address + _inside(index, self.count)]))

    def __setitem__(self, index: int, value: R) -> None:
        self.words[self.address + _inside(index, self.count)] = value.address


class Numbers:
    """Numbers, one behind the other."""

    def __init__(self, words: Ints, address: int, count: int) -> None:
        self.words, self.address, self.count = words, address, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return int(self.words[self.address + _inside(index, self.count)])

    def __setitem__(self, index: int, value: int) -> None:
        self.words[self.address + _inside(index, self.count)] = value


class Ring(Numbers):
    """Numbers of which the last ones are kept: a power of two."""

    def __getitem__(self, index: int) -> int:
        return super().__getitem__(index & (self.count - 1))

    def __setitem__(self, index: int, value: int) -> None:
        super().__setitem__(index & (self.count - 1), value)


_NUMBERS: dict[str, type[Numbers]] = {"numbers": Numbers, "ring": Ring}
_RECORDS: dict[str, type[Rows[Record]]] = {"rows": Rows, "refs": Refs}


def _inside(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise IndexError(f"{index} is not in 0..{count - 1}")
    return index


def declare(*records: type[Record]) -> tuple[Word, ...]:
    """Give all fields of all records their places; returns them in order.

    Parameters
    ----------
    *records : type of Record
        Those that stand in others before these.

    Raises
    ------
    TypeError
        A field of a kind that there is not.
    """
    code, fields = 1, []
    _WORDS[:] = [Word("")]
    for record in records:
        offset, record.fields = 0, {}
        kinds = get_type_hints(record)
        for name in record.__annotations__:
            field: Word = vars(record)[name]
            field.owner, field.name, field.offset, field.code = record, name, offset, code
            _of_kind(field, kinds[name])
            record.fields[name] = field
            fields.append(field)
            offset += field.size
            code += field.size
            _WORDS.extend([field] * field.size)
        record.size = offset
    return tuple(fields)


def _of_kind(field: Word, kind: object) -> None:
    table = get_origin(kind) or kind
    names = [name for name, one in (_RECORDS | _NUMBERS).items() if one is table]
    if names:
        field.kind, field.record = names[0], next(iter(get_args(kind)), None)
        each = field.record.size if field.kind == "rows" and field.record else 1
        field.size = field.length * each if field.length else 2
    elif isinstance(kind, type) and issubclass(kind, Record):
        field.kind, field.record = "ref", kind
    elif kind is not int:
        raise TypeError(f"{field.title}: records have no field of {kind}")
