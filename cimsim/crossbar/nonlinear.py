"""Cells whose current is not linear in the voltage across them, with and without resistive wires.

All voltages are relative to the read voltage: a cell of conductance ``g`` carries ``g h(V)`` with
``h(V) = sinh(a V) / sinh(a)``, ``a`` the steepness ``v_read / V0`` (source and the user's parameter
in `cimsim.chip.cells.ohmic`).

Behind ideal wires all cells of a row see the row's voltage, so ``h`` is one curve on the inputs.
Behind resistive wires (circuit in `cimsim.crossbar.wires`) every vector of inputs is solved by
itself. The unknown voltages minimise a strictly convex function, the co-content of the network (W.
Millar, Philosophical Magazine 42, 1951), so it can be minimised line by line: all word lines with
the voltages of the bit lines held, then all bit lines with those of the word lines held, each line
one Newton step. A linearised line is a ladder that is folded up from its far end, conductances
looking away from the terminal and resistances looking towards it, so that any resistance may be 0.

*Convergence.* A sweep, both kinds of lines once, divides the error by how little a line follows its
facing lines, squared. From the third sweep on steps are lengthened (successive over-relaxation, D.
M. Young 1954) as soon as the ratio of two residuals is steady; the solution stays the same. Factor
of the error in a plain sweep, and sweeps until `TOLERANCE`, measured on 64 x 64 to 256 x 256 cells
over two decades, random inputs, nonlinearity 2 .. 20 (the harder the knee, the faster):

=============== ============ ========
loss of current factor       sweeps
=============== ============ ========
1 %             3e-5         4
10 %            3e-3         5 .. 6
50 %            0.06 .. 0.15 9 .. 11
90 %            0.24 .. 0.8  14 .. 65
=============== ============ ========

*Stopping.* A solution is taken when the currents that the cells carry and those that the wires
bring to their ends differ, summed over all nodes, by less than `TOLERANCE` of the currents. What is
missing at a node acts like a current injected there, of which no virtual ground can get more than
all: the sum of the errors of all output currents is at most as large (to first order in the error).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.wires import Matrix, Resistances, checked
from cimsim.errors import SimulationError
from cimsim.kernels import nonlinear as kernels
from cimsim.kernels.arrays import Numbers

Real = TypeVar("Real", bound=np.number)

TOLERANCE = 1e-10
MAX_SWEEPS = 2000


def bent(x: NDArray[Real], steepness: float) -> NDArray[Real]:
    """Return ``sinh(a x) / sinh(a)``; ``x`` itself for a linear cell, ``a`` = 0."""
    if steepness == 0:
        return x
    found: NDArray[Real] = np.sinh(steepness * x) / math.sinh(steepness)
    return found


def bent_levels(curves: NDArray[np.float32], top: int, steepness: float) -> NDArray[np.float32]:
    """Return what the cells of a row make of each number that its driver is given.

    Parameters
    ----------
    curves : float32 [n_rows, levels]
        What each row's driver applies, in steps; [0, 0] if it is that number.
    top : int
        Number that stands for the read voltage.
    steepness : float

    Returns
    -------
    float32 [n_rows, levels]
        In steps, ``top`` times `bent`; [1, top + 1] where all drivers are alike.
    """
    applied = curves if curves.size else np.arange(top + 1)[None]
    return (top * bent(applied.astype(np.float64) / top, steepness)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class WiredCells:
    """Non-linear cells behind resistive wires; every pulse is solved by iteration.

    Attributes
    ----------
    g_s : float64 [n_rows, n_lines]
        Conductance of every cell at the read voltage, S; all lines of the array in their order.
    ohms : tuple of float
        As `Resistances`: word, bit, driver, sense.
    steepness : float
        ``v_read / V0``.
    plus, minus : int64 [n_physical_cols]
        Line whose current a column reads, and the one that is subtracted from it.
    unit_s : float
        Weight LSB, S.
    """

    g_s: Matrix
    ohms: tuple[float, float, float, float]
    steepness: float
    plus: NDArray[np.int64]
    minus: NDArray[np.int64]
    unit_s: float

    @cached_property
    def circuit(self) -> Circuit:
        """The same as the solver takes it."""
        return Circuit.of(self.g_s, Resistances(*self.ohms), self.steepness)

    def bent(self, pulse: Numbers, top: int) -> Numbers:
        """Return what cells would make of a pulse without wires; same units."""
        return top * bent(pulse / top, self.steepness)

    def partial_sums(self, pulse: Numbers, top: int) -> Matrix:
        """Return the noise-free currents of one pulse, in weight LSB times pulse LSB.

        Parameters
        ----------
        pulse : [B, n_rows]
            What the drivers apply, in steps.
        top : int
            Steps of the read voltage.

        Returns
        -------
        float64 [B, n_physical_cols]
        """
        sunk, _ = self.circuit.currents(pulse.astype(np.float64) / top)
        return (sunk[:, self.plus] - sunk[:, self.minus]) * (top / self.unit_s)


@dataclass(frozen=True, eq=False)
class Circuit:
    """A crossbar for `cimsim.kernels.nonlinear.solve`; columns begin at the word lines' far end.

    Attributes
    ----------
    cells : tuple of float64 [R, C] and [C, R]
        Differential conductances at 0 V, S.
    ohms : tuple of float64 [R] and [C]
        Resistance from each node of a bit line or word line towards its terminal.
    wires : Resistances
    steepness : float
    """

    cells: tuple[Matrix, Matrix]
    ohms: tuple[Matrix, Matrix]
    wires: Resistances
    steepness: float

    @classmethod
    def of(cls, g_s: Matrix, wires: Resistances, steepness: float) -> Circuit:
        """Take conductances at the read voltage [R, C], S, and wires."""
        at_zero = steepness / math.sinh(steepness) if steepness > 0 else 1.0
        cells = np.ascontiguousarray(checked(g_s)[:, ::-1] * at_zero)
        bit, word = np.full(cells.shape[0], wires.bit), np.full(cells.shape[1], wires.word)
        bit[-1], word[-1] = wires.sense, wires.driver
        return cls((cells, np.ascontiguousarray(cells.T)), (bit, word), wires, steepness)

    def currents(self, drives: Matrix) -> tuple[Matrix, Matrix]:
        """Solve the circuit for some vectors of source voltages.

        Each vector is solved by itself: the result depends neither on those beside it nor on how
        many there are.

        Parameters
        ----------
        drives : float64 [B, R]
            Source voltages over the read voltage.

        Returns
        -------
        sunk : float64 [B, C]
            Current into each virtual ground per volt of read voltage, S.
        drawn : float64 [B, R]
            Current out of each source, in the same unit.

        Raises
        ------
        SimulationError
            Voltages that are not finite, or no solution within `MAX_SWEEPS`.
        """
        drives = np.ascontiguousarray(drives, np.float64)
        if not np.isfinite(drives).all():
            raise SimulationError("wires.model: exact: expected finite source voltages")
        n_rows, n_cols = self.cells[0].shape
        sunk, drawn = np.empty((len(drives), n_cols)), np.empty((len(drives), n_rows))
        report = np.empty((len(drives), 2))
        kernels.solve(
            self.cells, self.ohms, self.steepness, (TOLERANCE, MAX_SWEEPS), drives, (sunk, drawn),
            report,
        )  # fmt: skip
        worst = report[:, 1].max(initial=0.0)
        if not worst <= TOLERANCE:
            w = self.wires
            raise SimulationError(
                f"wires.model: exact: an array of {n_rows} x {n_cols} non-linear cells (v_read / "
                f"V0 = {self.steepness:.3g}) behind r_word = {w.word:g} ohm, r_bit = {w.bit:g} "
                f"ohm, r_driver = {w.driver:g} ohm, r_sense = {w.sense:g} ohm was not solved in "
                f"{MAX_SWEEPS} sweeps: {worst:.1e} of the currents are missing, expected "
                f"{TOLERANCE:g}; use smaller resistances or device.nonlinearity: 2"
            )
        return np.ascontiguousarray(sunk[:, ::-1]), drawn
