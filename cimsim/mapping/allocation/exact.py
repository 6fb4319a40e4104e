"""Packing as a mixed-integer program: a packing into so many arrays, or the proof of none.

Textbook big-M model of rectangle packing (e.g. Chen, Lee and Shen, An analytical model for the
container loading problem, Eur. J. Oper. Res. 80, 1995): each two pieces are apart in rows, in
columns or in arrays. HiGHS solves it through `scipy.optimize.milp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from cimsim.mapping.allocation.rectangles import (
    Packing,
    Piece,
    Room,
    Spot,
    check_packing,
    check_size,
)

NODES = 200_000  # a limit in branch-and-bound nodes, not in seconds: same answer everywhere
_OPTIMAL, _INFEASIBLE = 0, 2  # scipy.optimize.milp status


@dataclass(frozen=True, slots=True)
class Solved:
    """Answer of the exact solver.

    Attributes
    ----------
    packing : dict or None
        Piece number -> spot.
    proved : bool
        With None: no packing exists. False: the node limit came first.
    """

    packing: Packing | None
    proved: bool


@dataclass(slots=True)
class _IntegerProgram:
    """Variables and rows of a program while it is put together."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    rows: list[tuple[dict[int, float], float]] = field(default_factory=list)  # sum <= bound

    def integer(self, upper: float) -> int:
        """Add an integer variable 0 .. upper; returns its number."""
        self.lower.append(0.0)
        self.upper.append(float(upper))
        return len(self.upper) - 1

    def at_most(self, terms: dict[int, float], bound: float) -> None:
        """Add ``sum(factor * variable) <= bound``."""
        self.rows.append((terms, bound))


def pack_exact(pieces: Sequence[Piece], room: Room, nodes: int = NODES) -> Solved:
    """Pack all pieces into the arrays of ``room``, or prove that it cannot be done.

    Parameters
    ----------
    pieces : sequence of Piece
        A dozen or so: the program has some six binaries for each pair.
    room : Room
    nodes : int
        Branch-and-bound nodes after which the solver gives up.

    Raises
    ------
    MappingError
        A piece larger than an array.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    for piece in pieces:
        check_size(piece, room)
    program = _IntegerProgram()
    cols = [program.integer(room.cols - p.cols) for p in pieces]
    rows = [program.integer(room.rows - p.rows) for p in pieces]
    arrays = [program.integer(min(n, room.arrays - 1)) for n in range(len(pieces))]
    left = _apart(program, pieces, room, cols, rows, arrays)
    if room.common_rows is not None:
        _common(program, pieces, room, cols, left)
    entries = [(i, j, f) for i, (terms, _) in enumerate(program.rows) for j, f in terms.items()]
    shape = (len(program.rows), len(program.upper))
    where, what, factors = zip(*entries, strict=True) if entries else ((), (), ())
    matrix = csr_array((factors, (where, what)), shape=shape)
    done = milp(
        np.zeros(shape[1]), integrality=np.ones(shape[1]),
        bounds=Bounds(program.lower, program.upper),
        constraints=[LinearConstraint(matrix, -np.inf, [bound for _, bound in program.rows])],
        options={"node_limit": nodes},
    )  # fmt: skip
    if done.x is None:
        return Solved(None, done.status == _INFEASIBLE)
    value = np.round(done.x).astype(int).tolist()
    packing = {
        n: Spot(value[arrays[n]], value[rows[n]], value[cols[n]]) for n in range(len(pieces))
    }
    check_packing(pieces, packing, room)  # floating point had its say: the integers decide
    return Solved(packing, True)


def _apart(
    program: _IntegerProgram,
    pieces: Sequence[Piece],
    room: Room,
    cols: list[int],
    rows: list[int],
    arrays: list[int],
) -> dict[tuple[int, int], int]:
    """Keep each two pieces apart; returns the binaries "i lies wholly to the left of j"."""
    left: dict[tuple[int, int], int] = {}
    for i, j in combinations(range(len(pieces)), 2):
        ways: list[int] = []
        for a, b in ((i, j), (j, i)):
            beside, below, before = (program.integer(1) for _ in range(3))
            left[a, b] = beside
            ways += [beside, below, before]
            # each binary switches one inequality on: a left of b, a below b, array a before array b
            size, span = pieces[a].cols, room.cols
            program.at_most({cols[a]: 1, cols[b]: -1, beside: span}, span - size)
            size, span = pieces[a].rows, room.rows
            program.at_most({rows[a]: 1, rows[b]: -1, below: span}, span - size)
            span = room.arrays
            program.at_most({arrays[a]: 1, arrays[b]: -1, before: span}, span - 1)
        program.at_most(dict.fromkeys(ways, -1.0), -1)
    return left


def _common(
    program: _IntegerProgram,
    pieces: Sequence[Piece],
    room: Room,
    cols: list[int],
    left: dict[tuple[int, int], int],
) -> None:
    """Keep common rows: the sum over all pieces that cover a column is largest at a left edge."""
    capacity = room.common_rows or 0
    for i in range(len(pieces)):
        covered: dict[int, float] = {}
        for j in range(len(pieces)):
            if i == j or not pieces[j].common_rows:
                continue
            starts, covers = program.integer(1), program.integer(1)
            span = room.cols
            # starts = 0 means that j begins right of i's left edge
            program.at_most({cols[i]: 1, cols[j]: -1, starts: -span}, -1)
            # j covers the edge if it begins at or before it and does not end before it
            program.at_most({starts: 1, left[j, i]: -1, covers: -1}, 0)
            covered[covers] = float(pieces[j].common_rows)
        program.at_most(covered, capacity - pieces[i].common_rows)
