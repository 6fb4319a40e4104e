"""Rectangles side by side and on top of each other in equal arrays: pieces, rooms, heuristics.

A *piece* is the bounding box of one local array of a layout, in word lines and weight columns. The
heuristics keep a skyline for each array (how far each column is filled from row 0) and are
first-fit in the order of the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import MappingError

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle that must lie whole in one array.

    Attributes
    ----------
    name : str
        For messages.
    rows, cols : int
        Word lines and weight columns, each >= 1.
    common_rows : int
        Rows that it takes in its columns from those that all arrays share, see `Room`.
    """

    name: str
    rows: int
    cols: int
    common_rows: int = 0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a piece lies: array, first row and first column."""

    array: int
    row: int
    col: int


@dataclass(frozen=True, slots=True)
class Room:
    """Equal arrays to fill.

    Attributes
    ----------
    arrays : int
    rows, cols : int
        Word lines and weight columns of each.
    common_rows : int or None
        Rows beside the arrays that run over all of them, such as the 16 bias rows of the 40 nm SoC
        of Bai et al., TCAD 2024: in each column the pieces of all arrays together take at most
        that many. None: there are none and pieces need none.
    """

    arrays: int
    rows: int
    cols: int
    common_rows: int | None = None

    @property
    def cells(self) -> int:
        """Weight cells, common rows included."""
        return (self.arrays * self.rows + (self.common_rows or 0)) * self.cols


Packing = dict[int, Spot]  # piece number -> spot


class _Skyline:
    """What is filled already, column by column."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.filled = np.zeros((room.arrays, room.cols), np.int64)
        self.common = np.zeros(room.cols, np.int64)

    def spot(self, piece: Piece, array: int, stacked: bool) -> Spot | None:
        """Return the lowest, then leftmost place in an array; None without one."""
        if piece.cols > self.room.cols:
            return None
        filled = self.filled[array]
        top = _running_max(filled, piece.cols)
        free = top + piece.rows <= self.room.rows
        if not stacked:
            free &= top == 0
        if self.room.common_rows is not None:
            crowded = _running_max(self.common, piece.cols)
            free &= crowded + piece.common_rows <= self.room.common_rows
        if not free.any():
            return None
        col = int(np.argmin(np.where(free, top, self.room.rows + 1)))
        return Spot(array, int(top[col]), col)

    def fill(self, piece: Piece, spot: Spot) -> None:
        """Put a piece at its spot."""
        where = slice(spot.col, spot.col + piece.cols)
        self.filled[spot.array, where] = spot.row + piece.rows
        self.common[where] += piece.common_rows


def _running_max(values: Ints, width: int) -> Ints:
    largest: Ints = np.lib.stride_tricks.sliding_window_view(values, width).max(axis=1)
    return largest


def in_order_loads(pieces: Sequence[Piece], room: Room) -> list[Packing]:
    """Place pieces in order, side by side from row 0, in the first array with columns left.

    A piece that finds no place ends the load: the arrays are written anew with it and the rest.

    Returns
    -------
    list of dict
        For each load, piece number -> spot.

    Raises
    ------
    MappingError
        A piece larger than an array.
    """
    loads: list[Packing] = [{}]
    skyline = _Skyline(room)
    for number, piece in enumerate(pieces):
        check_size(piece, room)
        spot = _first(skyline, piece, stacked=False)
        if spot is None:
            loads.append({})
            skyline = _Skyline(room)
            spot = _first(skyline, piece, stacked=False)
        if spot is None:
            raise MappingError(f"'{piece.name}': needs more than {room.common_rows} common rows")
        skyline.fill(piece, spot)
        loads[-1][number] = spot
    return loads


def pack_first_fit(pieces: Sequence[Piece], room: Room) -> Packing | None:
    """Pack by skyline and first fit, in several orders; keep what takes the fewest arrays.

    Orders: as given; largest first by rows, columns, area, longer side, rows then columns.

    Returns
    -------
    dict or None
        Piece number -> spot; None if no order finds room for all.

    Raises
    ------
    MappingError
        A piece larger than an array.
    """
    for piece in pieces:
        check_size(piece, room)
    packings: list[Packing] = []
    for key in _ORDERS:
        order = sorted(range(len(pieces)), key=lambda n: (key(pieces[n]), n))
        packing = _in_this_order(pieces, order, room)
        if packing is not None:
            packings.append(packing)
    return min(packings, key=arrays_of, default=None)


_ORDERS: tuple[Callable[[Piece], tuple[int, ...]], ...] = (
    lambda piece: (0,),
    lambda piece: (-piece.rows, -piece.cols),
    lambda piece: (-piece.cols, -piece.rows),
    lambda piece: (-piece.rows * piece.cols,),
    lambda piece: (-max(piece.rows, piece.cols), -min(piece.rows, piece.cols)),
)


def _in_this_order(pieces: Sequence[Piece], order: Iterable[int], room: Room) -> Packing | None:
    skyline, packing = _Skyline(room), Packing()
    for number in order:
        spot = _first(skyline, pieces[number], stacked=True)
        if spot is None:
            return None
        skyline.fill(pieces[number], spot)
        packing[number] = spot
    return packing


def _first(skyline: _Skyline, piece: Piece, stacked: bool) -> Spot | None:
    for array in range(skyline.room.arrays):
        spot = skyline.spot(piece, array, stacked)
        if spot is not None:
            return spot
    return None


def arrays_of(packing: Packing) -> int:
    """Arrays that a packing takes."""
    return len({spot.array for spot in packing.values()})


def least_arrays(pieces: Sequence[Piece], room: Room) -> int:
    """Return a lower bound: by area, and by pieces no two of which share an array."""
    area = sum(piece.rows * piece.cols for piece in pieces)
    # two pieces of more than half the rows and half the columns always overlap
    alone = sum(2 * p.rows > room.rows and 2 * p.cols > room.cols for p in pieces)
    return max(-(-area // (room.rows * room.cols)), alone)


def check_size(piece: Piece, room: Room) -> None:
    """Refuse a piece that is larger than an array.

    Raises
    ------
    MappingError
        With both sizes.
    """
    if piece.rows > room.rows or piece.cols > room.cols:
        raise MappingError(
            f"'{piece.name}' of {piece.rows} x {piece.cols} is larger than an array of "
            f"{room.rows} x {room.cols}"
        )


def check_packing(pieces: Sequence[Piece], packing: Packing, room: Room) -> None:
    """Check a packing cell by cell, whoever made it.

    Raises
    ------
    MappingError
        A piece without a place or outside, two pieces on one cell, or too many common rows.
    """
    cells = np.full((room.arrays, room.rows, room.cols), -1, np.int64)
    common = np.zeros(room.cols, np.int64)
    for number, piece in enumerate(pieces):
        if number not in packing:
            raise MappingError(f"packing: '{piece.name}' has no place")
        spot = packing[number]
        inside = (
            0 <= spot.array < room.arrays
            and 0 <= spot.row <= room.rows - piece.rows
            and 0 <= spot.col <= room.cols - piece.cols
        )
        if not inside:
            raise MappingError(f"packing: '{piece.name}' leaves its array at {spot}")
        part = cells[spot.array, spot.row : spot.row + piece.rows, spot.col : spot.col + piece.cols]
        if (part >= 0).any():
            other = pieces[int(part.max())].name
            raise MappingError(f"packing: '{piece.name}' and '{other}' overlap in {spot}")
        part[:] = number
        common[spot.col : spot.col + piece.cols] += piece.common_rows
    if room.common_rows is not None and common.max(initial=0) > room.common_rows:
        raise MappingError(
            f"packing: column {int(common.argmax())} takes {int(common.max())} common rows, "
            f"there are {room.common_rows}"
        )
