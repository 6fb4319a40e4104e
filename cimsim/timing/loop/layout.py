"""Tables of records by column, and the one array that they all stand in."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.timing.loop.schema import Record, Word

Ints = NDArray[np.int64]
R = TypeVar("R", bound=Record)


class Columns(Generic[R]):
    """Records one behind the other, each field a column: ``nodes.windows[3]``.

    Parameters
    ----------
    record : type of Record
    table : int64 [records, size of one]
    address : int
        Of the first record.
    """

    def __init__(self, record: type[R], table: Ints, address: int) -> None:
        self.record, self.table, self.address = record, table, address
        self._places: dict[str, Ints] = {}

    def __len__(self) -> int:
        return len(self.table)

    def __getattr__(self, name: str) -> Ints:
        """Return a column: [records], of tables that stand in the record [records, words]."""
        field = self._field(name)
        if field.length:
            return self.table[:, field.offset : field.offset + field.size]
        return self.table[:, field.offset]

    def inside(self, words: Ints) -> Columns[R]:
        """Return the same records where they stand in the memory."""
        rows = words[self.address : self.address + self.table.size].reshape(self.table.shape)
        return Columns(self.record, rows, self.address)

    def addresses(self) -> Ints:
        """Return the addresses of all records."""
        if "" not in self._places:
            self._places[""] = self.address + self.record.size * np.arange(len(self.table))
        return self._places[""]

    def places(self, name: str) -> Ints:
        """Return the words of a field: [records], of tables in the record [records, words]."""
        if name not in self._places:
            field = self._field(name)
            first = self.addresses() + field.offset
            many = first[:, np.newaxis] + np.arange(field.size)
            self._places[name] = many if field.length else first
        return self._places[name]

    def inner(self, name: str) -> tuple[Columns[Record], ...]:
        """Return the records that stand in these, as columns of each record for itself."""
        field = self._field(name)
        assert field.record is not None
        rows = self.__getattr__(name).reshape(len(self), field.length, field.record.size)
        return tuple(
            Columns(field.record, row, int(first) + field.offset)
            for row, first in zip(rows, self.addresses(), strict=True)
        )

    def place(self, name: str) -> slice:
        """Return the columns of a field in ``table``."""
        field = self._field(name)
        return slice(field.offset, field.offset + field.size)

    def count(self, name: str) -> Ints:
        """Return the elements of a field that is a table [records]."""
        return self.table[:, self._field(name).offset + 1]

    def link(self, name: str, address: int | Ints, count: int | Ints) -> None:
        """Let a field be the table at an address, or each record's at its own."""
        field = self._field(name)
        self.table[:, field.offset], self.table[:, field.offset + 1] = address, count

    def _field(self, name: str) -> Word:
        field = self.record.fields.get(name)
        if field is None:
            raise AttributeError(f"{self.record.__name__} has no field '{name}'")
        return field


class Layout:
    """Hands out addresses, then makes the array.

    Parameters
    ----------
    header : type of Record
        Which the array begins with; its first field is the number of words.
    checked : bool
        Write behind the records what each word is, for the checked build.
    """

    def __init__(self, header: type[Record], checked: bool) -> None:
        self.checked, self.size = checked, 0
        self._parts: list[tuple[int, Ints, int | Ints]] = []
        self.header = self.rows(header, 1)

    def rows(self, record: type[R], count: int) -> Columns[R]:
        """Reserve room for records of zeros, whose fields may be set until the array is made."""
        return self._columns(record, np.zeros((count, record.size), np.int64))

    def blank(self, record: type[R], count: int) -> Columns[R]:
        """Reserve room for records of -1, of which there may be very many."""
        return self._columns(record, np.broadcast_to(np.int64(-1), (count, record.size)))

    def numbers(self, values: Ints, field: Word) -> int:
        """Reserve room for elements of the tables to which a field points; returns the address."""
        return self._add(np.asarray(values, np.int64), field.elements)

    def words(self) -> Ints:
        """Return the array."""
        self.header.table[0, 0] = self.size
        memory = np.empty(2 * self.size + 3 if self.checked else self.size, np.int64)
        for address, table, codes in self._parts:
            for start, value in ((0, table), (self.size, codes)):
                if start == 0 or self.checked:
                    part = memory[start + address : start + address + table.size]
                    part.reshape(table.shape)[...] = value
        return memory

    def _columns(self, record: type[R], table: Ints) -> Columns[R]:
        codes = np.concatenate([_codes(field) for field in record.fields.values()])
        return Columns(record, table, self._add(table, codes))

    def _add(self, table: Ints, codes: int | Ints) -> int:
        address = self.size
        self._parts.append((address, table, codes))
        self.size += table.size
        return address


def _codes(field: Word) -> Ints:
    """Return what marks the words of a field."""
    if field.kind == "rows" and field.length and field.record is not None:
        one = np.concatenate([_codes(inner) for inner in field.record.fields.values()])
        return np.tile(one, field.length)
    return field.code + np.arange(field.size)
