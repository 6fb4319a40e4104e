"""Compiled relaxation of a crossbar of non-linear cells, one vector of voltages after another.

Word lines and bit lines are the same thing seen from the other side of the cells: a line is a chain
of nodes, the last one next to the line's terminal (driver or virtual ground), and a cell leads from
each node to a node of a facing line. All arrays of one kind of line are [nodes, lines], so that
loops run over the lines, which do not depend on each other; node 0 is the far end. The columns of a
crossbar are numbered from the far end of the word lines, so that turning an array of bit lines
[rows, columns] gives one of word lines [columns, rows].

A cell's current out of a line is ``g x S(steep x)``, ``x`` the voltage to the facing node, ``S(y) =
sinh(y) / y``; ``steep = 0`` is a linear cell. Four arrays describe a kind of line (`LINE`):

- 0 voltages of the nodes,
- 1 currents that the wires bring to each node for exactly these voltages,
- 2 voltages of the facing nodes,
- 3 currents that the wires bring to the facing nodes.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from cimsim.jit import jit
from cimsim.kernels.arrays import Doubles

Rows: TypeAlias = Doubles | tuple[Doubles, ...]  # arrays one behind the other
Cell: TypeAlias = tuple[float, float]  # 1 / V0, largest voltage across a cell

LINE, WORK, SUMS = 4, 4, 4  # arrays of a kind of line, of scratch memory, of sums over a line
_HALVINGS = 32.0  # five doublings of the argument follow
_S1, _S2, _S3, _S4, _S5 = (1 / math.factorial(n) for n in (3, 5, 7, 9, 11))
_C1, _C2, _C3, _C4, _C5, _C6 = (1 / math.factorial(n) for n in (2, 4, 6, 8, 10, 12))
_STEADY = 0.1  # a ratio of residuals that changes less is that of the slowest error
_SLOWEST = 0.999  # convergence that is slower is taken for this


@jit
def evaluate(g: Doubles, line: Doubles, steep: float, limit: float, work: Doubles) -> None:
    """Linearise all cells around the present voltages.

    ``sinh(y) / y`` and ``cosh(y) - 1`` are Taylor polynomials at ``y / 32`` and five doublings:
    only sums and products, so that the loop is one of vectors and has the same bits everywhere;
    relative error below 1e-14 for ``y`` up to 12.

    Parameters
    ----------
    g : float64 [cells]
        Differential conductance of each cell at 0 V.
    line : float64 [4, cells]
        `LINE` arrays, flat.
    steep : float
        1 / V0.
    limit : float
        Largest voltage that can be across a cell; a larger one is linearised here.
    work : float64 [3, cells]
        Out: slope of each cell; the rest ``i - slope u`` of its current; by how much its current
        misses what the wires bring to its two ends.
    """
    own, taken, facing, brought = line[0], line[1], line[2], line[3]
    slope, rest, missing = work[0], work[1], work[2]
    scale = steep / _HALVINGS
    for p in range(g.shape[0]):
        x = own[p] - facing[p]
        x = x if x < limit else limit
        x = x if x > -limit else -limit
        t = x * scale
        q = t * t
        s = 1 + q * (_S1 + q * (_S2 + q * (_S3 + q * (_S4 + q * _S5))))
        c = q * (_C1 + q * (_C2 + q * (_C3 + q * (_C4 + q * (_C5 + q * _C6)))))
        s *= 1 + c
        c *= 2 * (2 + c)
        s *= 1 + c
        c *= 2 * (2 + c)
        s *= 1 + c
        c *= 2 * (2 + c)
        s *= 1 + c
        c *= 2 * (2 + c)
        s *= 1 + c
        c *= 2 * (2 + c)
        current = g[p] * x * s
        steepness = g[p] * (1 + c)
        missing[p] = abs(current - taken[p]) + abs(current + brought[p])
        rest[p] = current - steepness * (x + facing[p])
        slope[p] = steepness


@jit
def fold(r: float, work: Rows, sums: Rows) -> None:
    """Put one node of every line, and the resistance towards its terminal, behind the next node.

    Parameters
    ----------
    r : float
        Resistance towards the terminal, ohm, >= 0.
    work : float64 [4, lines]
        In: as `evaluate` leaves it. Out, 2 and 3: share of the next node's voltage that is seen
        here, and the current that is drawn through the resistance at 0 V there.
    sums : float64 [4, lines]
        In and out, 0 and 1: conductance and current at 0 V of all that was folded; 2 adds up what
        the currents miss.
    """
    slope, rest, share, drawn = work[0], work[1], work[2], work[3]
    conductance, current, missing = sums[0], sums[1], sums[2]
    for p in range(slope.shape[0]):
        missing[p] += share[p]
        whole = conductance[p] + slope[p]
        base = current[p] + rest[p]
        passed = 1 / (1 + r * whole)
        share[p] = passed
        drawn[p] = base * passed
        conductance[p] = whole * passed
        current[p] = base * passed


@jit
def unfold(r: float, omega: float, work: Rows, line: Rows, sums: Rows) -> None:
    """Move one node of every line towards the solution of the linearised line.

    Parameters
    ----------
    r : float
        Resistance towards the terminal, ohm.
    omega : float
        Relaxation: 1 takes the solution, more goes beyond.
    work : float64 [4, lines]
        As `fold` leaves it.
    line : float64 [4, lines]
        In and out, 0 and 1.
    sums : float64 [4, lines]
        In and out, 0: solved voltage of the node next to the terminal, then of this one; 3 adds up
        the sizes of the currents.
    """
    slope, rest, share, drawn = work[0], work[1], work[2], work[3]
    own, taken, voltage, flow = line[0], line[1], sums[0], sums[3]
    for p in range(slope.shape[0]):
        solved = voltage[p] * share[p] - r * drawn[p]
        voltage[p] = solved
        own[p] += omega * (solved - own[p])
        moved = taken[p] + omega * (slope[p] * solved + rest[p] - taken[p])
        taken[p] = moved
        flow[p] += abs(moved)


@jit
def turn(array: Doubles, out: Doubles) -> None:
    """Transpose by tiles that stay in the cache."""
    n, m = array.shape
    for top in range(0, n, 8):
        for left in range(0, m, 8):
            for j in range(left, min(left + 8, m)):
                for i in range(top, min(top + 8, n)):
                    out[j, i] = array[i, j]


@jit
def look(g: Doubles, r: Doubles, cell: Cell, line: Doubles, work: Doubles, sums: Doubles) -> float:
    """Linearise all lines of a kind and fold them up; return how much current is missing.

    Parameters
    ----------
    g : float64 [nodes, lines]
    r : float64 [nodes]
        Resistance from each node towards the terminal, ohm.
    cell : (steep, limit)
    line, work : float64 [4, nodes, lines]
    sums : float64 [4, lines]
    """
    evaluate(g.reshape(-1), line.reshape(LINE, -1), cell[0], cell[1], work.reshape(WORK, -1))
    sums[:3] = 0.0
    for k in range(g.shape[0]):
        fold(r[k], (work[0, k], work[1, k], work[2, k], work[3, k]), sums)
    missing = 0.0
    for p in range(g.shape[1]):
        missing += sums[2, p]
    return missing


@jit
def move(
    r: Doubles, omega: float, terminals: Doubles, line: Doubles, work: Doubles, sums: Doubles
) -> float:
    """Relax all lines of a kind after `look`; return the sum of the sizes of their currents.

    Parameters
    ----------
    terminals : float64 [lines]
        Voltage of each line's terminal.
    """
    sums[0] = terminals
    sums[3] = 0.0
    for k in range(r.shape[0] - 1, -1, -1):
        node = (work[0, k], work[1, k], work[2, k], work[3, k])
        unfold(r[k], omega, node, (line[0, k], line[1, k]), sums)
    flow = 0.0
    for p in range(terminals.shape[0]):
        flow += sums[3, p]
    return flow


@jit
def relaxation(omega: float, ratio: float) -> float:
    """Return a better relaxation when errors fall by ``ratio`` a sweep; it never becomes smaller.

    D. M. Young's relation for two sets of unknowns, ``(ratio + omega - 1)**2 = ratio omega**2 mu``,
    gives the rate ``mu`` of plain sweeps, and the best relaxation is ``2 / (1 + sqrt(1 - mu))``.
    """
    mu = (ratio + omega - 1) ** 2 / (ratio * omega**2)
    return max(omega, 2 / (1 + math.sqrt(1 - min(mu, _SLOWEST))))


@jit
def solve(
    cells: tuple[Doubles, Doubles],
    ohms: tuple[Doubles, Doubles],
    steep: float,
    stop: tuple[float, int],
    drives: Doubles,
    out: tuple[Doubles, Doubles],
    report: Doubles,
) -> None:
    """Solve the circuit for each vector of source voltages.

    Parameters
    ----------
    cells : (float64 [R, C], float64 [C, R])
        Differential conductances at 0 V as bit lines and, turned, as word lines see them.
    ohms : (float64 [R], float64 [C])
        Resistance from each node towards the terminal, of bit lines and of word lines.
    steep : float
        1 / V0.
    stop : (tolerance, sweeps)
        Current that may be missing over the currents, both summed over all nodes; largest number of
        sweeps.
    drives : float64 [B, R]
        Source voltages.
    out : (float64 [B, C], float64 [B, R])
        Currents into the virtual grounds, and out of the sources.
    report : float64 [B, 2]
        Sweeps, and the current that is missing over the currents.
    """
    n_rows, n_cols = cells[0].shape
    word = np.empty((LINE, n_cols, n_rows))
    bit = np.empty((LINE, n_rows, n_cols))
    space = np.empty(WORK * n_rows * n_cols)
    by_bit, by_word = space.reshape(WORK, n_rows, n_cols), space.reshape(WORK, n_cols, n_rows)
    bit_sums, word_sums = np.empty((SUMS, n_cols)), np.empty((SUMS, n_rows))
    grounds = np.zeros(n_cols)
    for b in range(drives.shape[0]):
        drive = drives[b]
        highest, lowest = max(drive.max(), 0.0), min(drive.min(), 0.0)
        if highest == lowest:  # nothing flows, exactly
            out[0][b], out[1][b], report[b] = 0.0, 0.0, 0.0
            continue
        cell = (steep, highest - lowest)
        word[:], bit[:] = 0.0, 0.0
        word[0] = drive
        omega, last, before, flow = 1.0, np.inf, 0.0, 0.0
        for sweep in range(1, stop[1] + 1):
            look(cells[1], ohms[1], cell, word, by_word, word_sums)
            move(ohms[1], omega, drive, word, by_word, word_sums)
            turn(word[0], bit[2])
            turn(word[1], bit[3])
            missing = look(cells[0], ohms[0], cell, bit, by_bit, bit_sums)
            report[b, 0], report[b, 1] = sweep, missing / flow if flow > 0 else missing
            if missing <= stop[0] * flow:
                break
            ratio = missing / last
            if sweep > 2 and ratio < 1 and abs(ratio - before) < _STEADY * ratio:
                omega, ratio = relaxation(omega, ratio), 0.0
            last, before = missing, ratio
            flow = move(ohms[0], omega, grounds, bit, by_bit, bit_sums)
            turn(bit[0], word[2])  # what is missing is asked of the bit lines only: no word[3]
        for j in range(n_cols):
            out[0][b, j] = 0.0
        for i in range(n_rows):
            for j in range(n_cols):
                out[0][b, j] -= bit[1, i, j]
            total = 0.0
            for k in range(n_cols):
                total += word[1, k, i]
            out[1][b, i] = total
