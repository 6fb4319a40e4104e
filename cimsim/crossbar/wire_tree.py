"""A large crossbar by nested dissection: halves of halves, joined along the lines that cross.

Of a rectangle of h x w cells only its edge matters to the rest: h word lines enter it on the left
and leave it on the right, w bit lines leave it at the bottom and enter it at the top. Wires are
good conductors and cells are poor ones, so a piece is held by what little it changes: at the edges
``p`` that face drivers and virtual grounds (left, bottom) voltages are given, at the others ``q``
(right, top) the currents ``j_q`` that are put in, and ::

    j_p = G u_p - A.T j_q        G [p, p] in S, symmetric
    u_q = A u_p + Z   j_q        Z [q, q] in ohm, symmetric

(the hybrid matrix of a reciprocal network). Without wires and cells G and Z are 0 and A is 1: no
large numbers that nearly cancel, and segments of 0 ohm are no special case. Where the edge q of a
piece X meets the edge p of a piece Y, ``u = (1 + Z_X G_Y)**-1 (...)`` joins them (Redheffer's star
product, Redheffer, J. Math. Phys. 41, 1962). Joining along n lines costs O(n**3), so a whole array
of N x N costs O(N**3) (George, SIAM J. Numer. Anal. 10, 1973), where column after column costs
O(N**4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.kernels.wires import joined_cells

Matrix = NDArray[np.float64]
Lines = NDArray[np.intp]

_CELLS = 8  # lines of a compiled piece, at most
_LONE = 64  # from this many lines on pieces are joined one by one
_SHARE = 256  # columns that one thread takes of a lone join


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of cells; with a leading axis several of one shape.

    Attributes
    ----------
    hybrid : float64 [..., n, n]
        ``(j_p, u_q) = hybrid @ (u_p, j_q)``, see the module.
    left, bottom, right, top : intp [lines]
        Where in it the lines of each edge stand, from top to bottom and from left to right: those
        of ``p``, left and bottom, before those of ``q``. ``right`` and ``top`` are empty at the
        edge of the array, where no current comes in.
    """

    hybrid: Matrix
    left: Lines
    bottom: Lines
    right: Lines
    top: Lines

    @property
    def given(self) -> int:
        """Lines of edge p."""
        return len(self.left) + len(self.bottom)

    def every(self, start: int) -> Piece:
        """Take every second one."""
        return replace(self, hybrid=self.hybrid[start::2])

    def alone(self, x: int, *, right: bool, top: bool) -> Piece:
        """Take one, with those of its edges at which something comes in."""
        edges = [self.left, self.bottom]
        edges += [
            edge[: None if stays else 0] for edge, stays in ((self.right, right), (self.top, top))
        ]
        kept = np.sort(np.concatenate(edges))
        found = (np.searchsorted(kept, edge) for edge in edges)
        return Piece(self.hybrid[x][np.ix_(kept, kept)], *found)


def solve(
    g_s: Matrix, r_word: float, r_bit: float, r_driver: float, r_sense: float, threads: int = 2
) -> Matrix:
    """Solve a crossbar exactly in O(N**3); see `cimsim.crossbar.wires.crossbar_operator`.

    Parameters
    ----------
    g_s : float64 [R, C]
        Cell conductances, S, >= 0.
    r_word, r_bit, r_driver, r_sense : float
        Ohm, >= 0.
    threads : int, optional
        The bits do not depend on it.

    Returns
    -------
    float64 [R, C]
        ``A`` in S, with ``I = A.T @ V``.
    """
    rows, cols = g_s.shape
    with ThreadPoolExecutor(threads) as pool:
        whole = _joined(_pieces(g_s, r_word, r_bit, pool), pool)
        driven = whole.hybrid[:, whole.left]
        ends = np.empty(whole.given)
        ends[whole.left], ends[whole.bottom] = r_driver, r_sense
        if ends.any():  # u_p = (V, 0) - ends j_p
            seen = whole.hybrid * ends
            seen[np.diag_indices(len(seen))] += 1
            driven = np.asarray(np.linalg.solve(seen, driven), np.float64)
    currents = -driven[whole.bottom].T
    return np.ascontiguousarray(currents[len(currents) - rows :, :cols])


def _pieces(g_s: Matrix, r_word: float, r_bit: float, pool: Executor) -> list[Piece]:
    """Return the compiled pieces of an array, one `Piece` for each row of them.

    The array grows to a power of two of pieces by lines on which nothing flows: on the right and
    on the top, where no current comes in.
    """
    (down, high), (across, wide) = (_divided(n) for n in g_s.shape)
    cells = np.zeros((down * high, across * wide))
    cells[len(cells) - g_s.shape[0] :, : g_s.shape[1]] = g_s
    word, bit = np.full(cells.shape[1], r_word), np.full(cells.shape[0], r_bit)
    word[0] = bit[-1] = 0.0  # what lies there belongs to driver and sense
    edges = np.cumsum((high, wide, high))

    def row(y: int) -> Piece:
        lines = slice(y * high, (y + 1) * high)
        hybrid = joined_cells(cells[lines], word, bit[lines], wide)
        return Piece(hybrid, *np.split(np.arange(2 * (high + wide)), edges))

    return list(pool.map(row, range(down)))


def _divided(lines: int) -> tuple[int, int]:
    """Return the number of pieces, a power of two, and the lines of each."""
    pieces = 1
    while -(-lines // pieces) > _CELLS:
        pieces *= 2
    return pieces, -(-lines // pieces)


def _joined(rows: list[Piece], pool: Executor) -> Piece:
    """Join pieces, small ones a row at a time, until one is left."""
    across = len(rows[0].hybrid)
    while len(rows) * across > 1 and max(len(rows[0].left), len(rows[0].bottom)) < _LONE:
        if _is_beside(rows[0], len(rows), across):
            rows = list(pool.map(lambda row: _side_by_side(row.every(0), row.every(1)), rows))
            across //= 2
        else:
            rows = list(pool.map(_stacked, rows[::2], rows[1::2]))
    lone = [
        [row.alone(x, right=x < across - 1, top=y > 0) for x in range(across)]
        for y, row in enumerate(rows)
    ]
    while len(lone) * len(lone[0]) > 1:
        if _is_beside(lone[-1][0], len(lone), len(lone[0])):
            pairs = [(row[x], row[x + 1]) for row in lone for x in range(0, len(row), 2)]
            done, down = _each(_side_by_side, pairs, pool), len(lone)
        else:
            pairs = [p for y in range(0, len(lone), 2) for p in zip(*lone[y : y + 2], strict=True)]
            done, down = _each(_stacked, pairs, pool), len(lone) // 2
        across = len(done) // down
        lone = [done[y * across : (y + 1) * across] for y in range(down)]
    return lone[0][0]


def _is_beside(piece: Piece, down: int, across: int) -> bool:
    """Whether pieces are joined along their word lines next: those that are taller than wide."""
    return across > 1 and (down == 1 or len(piece.bottom) <= len(piece.left))


def _each(
    join: Callable[..., Piece], pairs: Sequence[tuple[Piece, Piece]], pool: Executor
) -> list[Piece]:
    """Join pairs in parallel; a single one shares its columns out instead."""
    if len(pairs) == 1:
        return [join(*pairs[0], pool)]
    return list(pool.map(lambda pair: join(*pair), pairs))


def _side_by_side(x: Piece, y: Piece, pool: Executor | None = None) -> Piece:
    """Join two pieces along their word lines, ``x`` on the left."""
    hybrid, of_x, of_y = _star(x, x.right, y, y.left, pool)
    bottom, top = (np.concatenate((of_x[a], of_y[b])) for a, b in
                   ((x.bottom, y.bottom), (x.top, y.top)))  # fmt: skip
    return Piece(hybrid, of_x[x.left], bottom, of_y[y.right], top)


def _stacked(y: Piece, x: Piece, pool: Executor | None = None) -> Piece:
    """Join two pieces along their bit lines, ``x`` below."""
    hybrid, of_x, of_y = _star(x, x.top, y, y.bottom, pool)
    left, right = (np.concatenate((of_y[b], of_x[a])) for a, b in
                   ((x.left, y.left), (x.right, y.right)))  # fmt: skip
    return Piece(hybrid, left, of_x[x.bottom], right, of_y[y.top])


def _star(
    x: Piece, seam_x: Lines, y: Piece, seam_y: Lines, pool: Executor | None
) -> tuple[Matrix, Lines, Lines]:
    """Let lines of X's edge q run on as lines of Y's edge p.

    At the seam ``u = X_s x + Z j`` and ``j = -(Y_s y + G u)``, with all other lines' ``x`` and
    ``y``. So with ``K = (1 + Z G)**-1``, whose transpose is ``(1 + G Z)**-1``, ``u = K X_s x - K Z
    Y_s y`` and ``j = -G K X_s x - K.T Y_s y``.

    Returns
    -------
    hybrid : float64 [..., n, n]
    of_x, of_y : intp [n_x], intp [n_y]
        Where the lines of X and of Y stand in it; those of the seam are -1.
    """
    mine, own = _order(x, seam_x), _order(y, seam_y)
    px, py = x.given, y.given - len(seam_y)
    p, q, size = px + py, px + py + len(mine) - px, len(mine) + len(own)
    of_x, of_y = np.full(x.hybrid.shape[-1], -1), np.full(y.hybrid.shape[-1], -1)
    of_x[mine] = np.concatenate((np.arange(px), np.arange(p, q)))
    of_y[own] = np.concatenate((np.arange(px, p), np.arange(q, size)))

    z, g = _part(x.hybrid, seam_x, seam_x), _part(y.hybrid, seam_y, seam_y)
    to_x, to_y = _part(x.hybrid, seam_x, mine), _part(y.hybrid, seam_y, own)
    by_x, by_y = _part(x.hybrid, mine, seam_x), _part(y.hybrid, own, seam_y)
    rest_x, rest_y = _part(x.hybrid, mine, mine), _part(y.hybrid, own, own)
    k = np.linalg.inv(np.eye(len(seam_x)) + z @ g)
    u_x, u_y, j_x, j_y = k, -(k @ z), -(g @ k), -np.swapaxes(k, -1, -2)
    out = np.empty((*z.shape[:-2], size, size))

    def fill(task: tuple[int, int]) -> None:
        # what edge q does to edge p is minus the transpose of what p does to q
        side, start = task
        here, rest, lines, split = ((to_x, rest_x, mine, px), (to_y, rest_y, own, py))[side]
        end = min(start + _SHARE, split if start < split else len(lines))
        first, columns = int(start >= split), slice(start, end)
        into = (of_x if side == 0 else of_y)[lines[start]]
        for other, by, cut, rows in (
            (0, by_x, (0, px, len(mine)), ((0, px), (p, q))),
            (1, by_y, (0, py, len(own)), ((px, p), (q, size))),
        ):
            through = ((j_x, j_y), (u_x, u_y))[other][side] @ here[..., columns]
            for part in range(first, 2):
                begin, stop = cut[part], cut[part + 1]
                target = out[..., slice(*rows[part]), into : into + end - start]
                np.matmul(by[..., begin:stop, :], through, out=target)
                if other == side:
                    target += rest[..., begin:stop, columns]

    tasks = [
        (side, start)
        for side, split, total in ((0, px, len(mine)), (1, py, len(own)))
        for a, b in ((0, split), (split, total))
        for start in range(a, b, _SHARE)
    ]
    list(map(fill, tasks) if pool is None else pool.map(fill, tasks))
    out[..., :p, p:] = -np.swapaxes(out[..., p:, :p], -1, -2)
    return out, of_x, of_y


def _order(piece: Piece, seam: Lines) -> Lines:
    """Return all lines but those of a seam, in their order."""
    stays = np.ones(piece.hybrid.shape[-1], bool)
    stays[seam] = False
    return np.flatnonzero(stays)


def _part(m: Matrix, rows: Lines, cols: Lines) -> Matrix:
    part: Matrix = m[..., rows[:, None], cols]
    return part
