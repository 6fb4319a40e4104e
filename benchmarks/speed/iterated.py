"""Nodal analysis of arrays that are too large for a sparse factorisation.

Potentials of the bit lines are eliminated, and those of the word lines found by conjugate
gradients, with the word lines without their crossings as preconditioner (Saad, Iterative Methods
for Sparse Linear Systems, 9.2). A step solves every line of the array once, as a tridiagonal
system. No resistance may be 0. Nothing of `cimsim.crossbar` is used.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit

Matrix: TypeAlias = NDArray[np.float64]
STEPS = 1000  # at most; cells of 0.1 .. 10 uS on lines of 1 ohm a cell take some ten


@jit
def _beyond(g: Matrix, line_s: float) -> Matrix:
    """Return the conductance that each node of lines along axis 0 sees in all that lies before it.

    Sums and products of positive numbers only: a diagonal less what was eliminated would cancel.
    """
    seen = np.zeros_like(g)
    for i in range(1, g.shape[0]):
        for j in range(g.shape[1]):
            before = seen[i - 1, j] + g[i - 1, j]
            seen[i, j] = line_s * before / (line_s + before)
    return seen


@jit
def _solve(
    g: Matrix, seen: Matrix, line_s: float, end_s: float, given: Matrix, out: Matrix
) -> None:
    """Find the potentials of lines along axis 0 whose nodes are given currents, A."""
    n, m = g.shape
    for j in range(m):
        out[0, j] = given[0, j]
    for i in range(1, n):
        for j in range(m):
            before = seen[i - 1, j] + g[i - 1, j]
            out[i, j] = given[i, j] + out[i - 1, j] * line_s / (line_s + before)
    for j in range(m):
        out[n - 1, j] /= seen[n - 1, j] + g[n - 1, j] + end_s
    for i in range(n - 2, -1, -1):
        for j in range(m):
            whole = seen[i, j] + g[i, j] + line_s
            out[i, j] = (out[i, j] + line_s * out[i + 1, j]) / whole


@jit
def _applied(g: Matrix, line_s: float, end_s: float, x: Matrix, out: Matrix) -> None:
    """Find the currents that potentials of lines along axis 0 drive out of their nodes, A."""
    n, m = g.shape
    for i in range(n):
        for j in range(m):
            current = g[i, j] * x[i, j]
            if i > 0:
                current += line_s * (x[i, j] - x[i - 1, j])
            current += line_s * (x[i, j] - x[i + 1, j]) if i < n - 1 else end_s * x[i, j]
            out[i, j] = current


class Iterated:
    """A crossbar; its drivers are at the first cells of the word lines, senses at the last rows.

    Parameters
    ----------
    g_s : float64 [rows, cols]
        Cells, S.
    r_word, r_bit, r_driver, r_sense : float
        Ohm, > 0.
    """

    def __init__(
        self, g_s: Matrix, r_word: float, r_bit: float, r_driver: float, r_sense: float
    ) -> None:
        # word lines along axis 0, the driver's end last
        self.word_g = np.ascontiguousarray(g_s.T[::-1])
        self.bit_g = g_s
        self.word, self.bit = (1 / r_word, 1 / r_driver), (1 / r_bit, 1 / r_sense)
        self.word_seen = _beyond(self.word_g, self.word[0])
        self.bit_seen = _beyond(self.bit_g, self.bit[0])

    def _bit_lines(self, word: Matrix) -> Matrix:
        """Return the potentials of the bit lines for those of the word lines."""
        out = np.empty_like(self.bit_g)
        _solve(self.bit_g, self.bit_seen, *self.bit, self.bit_g * word[::-1].T, out)
        return out

    def _drawn(self, word: Matrix) -> Matrix:
        """Return the currents that leave the nodes of the word lines."""
        out = np.empty_like(word)
        _applied(self.word_g, *self.word, word, out)
        out -= self.word_g * self._bit_lines(word).T[::-1]
        return out

    def currents(self, volts: NDArray[np.float64], wanted: float = 1e-14) -> tuple[Matrix, int]:
        """Find the currents into the senses.

        Parameters
        ----------
        volts : float64 [rows]
            Of the drivers; not all 0.
        wanted : float
            Part of the residual, in the norm of the preconditioner, that may be left.

        Returns
        -------
        (float64 [cols], int)
            A, and the steps that they took.
        """
        given = np.zeros_like(self.word_g)
        given[-1] = volts * self.word[1]
        x, left = np.zeros_like(given), given
        z = np.empty_like(left)
        _solve(self.word_g, self.word_seen, *self.word, left, z)
        p, rho = z.copy(), float(np.vdot(left, z))
        first, steps = rho, 0
        while rho > wanted**2 * first and steps < STEPS:
            q = self._drawn(p)
            alpha = rho / float(np.vdot(p, q))
            x += alpha * p
            left = left - alpha * q
            _solve(self.word_g, self.word_seen, *self.word, left, z)
            before, rho = rho, float(np.vdot(left, z))
            p *= rho / before
            p += z
            steps += 1
        return self._bit_lines(x)[-1] * self.bit[1], steps
