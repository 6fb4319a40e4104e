"""Compiled ladder recursions of resistive lines.

A line is a chain of nodes with a resistance ``r_line`` between neighbours; its last node is joined
to the line's terminal (driver or virtual ground) by ``r_end``. A cell of conductance ``g[k]`` leads
from node k to a node of the crossing line. All recursions hold conductances looking away from the
terminal and resistances looking towards it, so that any of them may be 0 and nothing cancels.
"""

from __future__ import annotations

import numpy as np

from cimsim.jit import jit
from cimsim.kernels.arrays import Doubles

_NOTHING = 1e-280  # elements of a matrix below this are 0: subnormal numbers are slow


@jit
def _ladder(g: Doubles, r_line: float, r_end: float, away: Doubles, towards: Doubles) -> None:
    """Fill what a line's nodes see, with the far ends of all cells at 0 V.

    Parameters
    ----------
    g : float64 [n]
    away : float64 [n]
        Out: conductance of the cells beyond node k, as seen from it, without its own cell.
    towards : float64 [n]
        Out: resistance from node k to the terminal at 0 V, with the cells on the way, without its
        own cell.
    """
    n = len(g)
    away[0] = 0.0
    for k in range(1, n):
        seen = away[k - 1] + g[k - 1]
        away[k] = seen / (1 + r_line * seen)
    towards[n - 1] = r_end
    for k in range(n - 2, -1, -1):
        towards[k] = r_line + towards[k + 1] / (1 + g[k + 1] * towards[k + 1])


@jit
def line_shares(g: Doubles, r_line: float, r_end: float) -> Doubles:
    """Return the share of each cell's current that reaches the terminal of its line.

    Share k is ``I / g[k]`` for the current ``I`` into the terminal (0 V) when 1 V is on the far end
    of cell k and 0 V on those of the others. By reciprocity it is also the voltage of node k when 1
    V is on the terminal and the far ends are at 0 V; and, for equal voltages on all far ends, the
    share of the voltage that is left across cell k. A cell of 0 S has the latter two.

    Parameters
    ----------
    g : float64 [n, n_lines]
        Cells of each line, S; the terminal is behind the last one.
    r_line, r_end : float
        Ohm, >= 0.

    Returns
    -------
    float64 [n, n_lines]
        In 0 .. 1; 1 without resistance, exactly.
    """
    n, n_lines = g.shape
    shares = np.empty((n, n_lines))
    away, towards, cells = np.empty(n), np.empty(n), np.empty(n)
    for line in range(n_lines):
        for k in range(n):
            cells[k] = g[k, line]
        _ladder(cells, r_line, r_end, away, towards)
        passed = 1.0
        for k in range(n - 1, -1, -1):
            shares[k, line] = passed / (1 + towards[k] * (away[k] + cells[k]))
            passed /= 1 + cells[k] * towards[k]
    return shares


@jit
def add_line(
    block: Doubles, g: Doubles, r_line: float, r_end: float, keep: float, shift: float, scale: float
) -> Doubles:
    """Put ``keep * block + shift * 1 + scale * Y`` in the place of ``block``, lower triangle only.

    ``Y`` is the admittance matrix of a line seen from the far ends of its cells, the terminal at 0
    V: ``Y = (diag(g)**-1 + Z)**-1`` with the line's impedances ``Z``. The inverse of a chain's
    tridiagonal matrix is semiseparable, so each element costs one product.

    Parameters
    ----------
    block : float64 [n, n]
    g : float64 [n]
    scale : float
        >= 0. Products with it that fall below 1e-280 off the diagonal are 0.

    Returns
    -------
    float64 [n]
        Row sums of ``Y``: current into the terminal per volt on the far end of each cell, S.
    """
    n = len(g)
    away, towards, pass_on = np.empty(n), np.empty(n), np.empty(n)
    _ladder(g, r_line, r_end, away, towards)
    for k in range(n):
        pass_on[k] = 1 / (1 + r_line * (away[k] + g[k]))
    for k in range(n):
        whole = 1 + towards[k] * (away[k] + g[k])
        own = g[k] * (1 + towards[k] * away[k]) / whole
        block[k, k] = keep * block[k, k] + shift + scale * own
        product = scale * g[k] * towards[k] / whole
        for i in range(k - 1, -1, -1):
            product *= pass_on[i]
            if product < _NOTHING:
                product = 0.0
            block[k, i] = keep * block[k, i] - product * g[i]
    out, passed = np.empty(n), 1.0
    for k in range(n - 1, -1, -1):
        out[k] = g[k] * passed / (1 + towards[k] * (away[k] + g[k]))
        passed /= 1 + g[k] * towards[k]
    return out


@jit
def joined_cells(g: Doubles, r_word: Doubles, r_bit: Doubles, wide: int) -> Doubles:
    """Return the hybrid matrices of pieces that stand side by side in one row.

    `cimsim.crossbar.wire_tree` says what they mean. A piece grows to the right and upwards, cell by
    cell. The nodes that its word and bit lines have reached stand at its right and top edge, so a
    segment of a line adds its resistance there, and a cell between two of these nodes is an update
    of rank 1: it draws ``i = s (u_R - u_T)`` from one and gives it to the other.

    Parameters
    ----------
    g : float64 [h, pieces * wide]
        Cells, S.
    r_word : float64 [pieces * wide]
        Ohm, of the segment on the left of each column.
    r_bit : float64 [h]
        Ohm, of the segment below each row.
    wide : int
        Columns of a piece.

    Returns
    -------
    float64 [pieces, n, n]
        ``n = 2 (h + wide)``: left, bottom, right, top.
    """
    high, pieces = g.shape[0], g.shape[1] // wide
    half = high + wide
    out = np.zeros((pieces, 2 * half, 2 * half))
    taken, driving = np.empty(2 * half), np.empty(2 * half)
    for piece in range(pieces):
        h = out[piece]
        for k in range(half):  # a line without cells passes voltage and current on
            h[half + k, k] = 1.0
            h[k, half + k] = -1.0
        for j in range(wide):
            top, column = half + high + j, piece * wide + j
            for i in range(high - 1, -1, -1):
                right = half + i
                h[right, right] += r_word[column]
                h[top, top] += r_bit[i]
                cell = g[i, column]
                if cell == 0:
                    continue
                for k in range(2 * half):
                    taken[k] = h[k, right] - h[k, top]
                    driving[k] = h[right, k] - h[top, k]
                cell /= 1 + cell * (driving[right] - driving[top])
                for k in range(2 * half):
                    scaled = cell * taken[k]
                    for m in range(2 * half):
                        h[k, m] -= scaled * driving[m]
    return out
