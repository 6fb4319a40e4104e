"""Resistive wires of a crossbar: the linear map from word-line voltages to bit-line currents.

Circuit (textbook nodal analysis): word lines i = 0 .. R-1, bit lines j = 0 .. C-1, a cell of
conductance ``g[i, j]`` between word-line node ``u[i, j]`` and bit-line node ``v[i, j]``. A source
``V[i]`` drives ``u[i, 0]`` through ``r_driver``; ``r_word`` lies between ``u[i, j]`` and ``u[i,
j+1]``, ``r_bit`` between ``v[i, j]`` and ``v[i+1, j]``, ``r_sense`` between ``v[R-1, j]`` and a
virtual ground that takes the current ``I[j]``. Kirchhoff's law is linear, so ``I = A.T @ V``, and
``A`` [R, C] in siemens is all that inference needs of the wires. ``A`` is computed once for each
written array and stands where the conductances stood.

Cells are linear conductances here. One whose current is not linear in its voltage has no such
``A``: `cimsim.crossbar.nonlinear` solves the same circuit for every input vector.
"""

from __future__ import annotations

import functools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from threadpoolctl import ThreadpoolController

from cimsim.chip.parts.array import Wires
from cimsim.crossbar import wire_tree
from cimsim.crossbar.operator_cache import cached
from cimsim.errors import SimulationError
from cimsim.kernels import wires as kernels

Matrix = NDArray[np.float64]

FAST_LIMIT = 0.5  # share of a cell's current that `fast` may lose before it is refused
_CANCELLED = 1e-8  # relative error that the short recursion may make
_HALVED = 128  # lines of either kind from which halves of halves are faster than columns


@dataclass(frozen=True, slots=True)
class Resistances:
    """Resistances of the wires of one array, ohm, each >= 0.

    Attributes
    ----------
    word, bit : float
        Of the segment between two neighbouring cells of a word line or bit line.
    driver, sense : float
        Between source and first cell of a word line, last cell of a bit line and virtual ground.
    """

    word: float = 0.0
    bit: float = 0.0
    driver: float = 0.0
    sense: float = 0.0

    def __post_init__(self) -> None:
        for name, value in zip(("word", "bit", "driver", "sense"), astuple(self), strict=True):
            if not (np.isfinite(value) and value >= 0):
                raise SimulationError(f"wires.r_{name}: expected 0 ohm or more, got {value:g} ohm")

    @classmethod
    def of(cls, wires: Wires) -> Resistances:
        """Take those of a chip."""
        return cls(wires.r_word_ohm, wires.r_bit_ohm, wires.r_driver_ohm, wires.r_sense_ohm)

    @property
    def reciprocal(self) -> Resistances:
        """Those of the circuit that is driven at the bit lines and read at the word lines."""
        return Resistances(word=self.bit, bit=self.word, driver=self.sense, sense=self.driver)


def wired(g_s: Matrix, wires: Wires) -> tuple[Matrix, Matrix]:
    """Return what the lines of a chip make of the cells of one array.

    Parameters
    ----------
    g_s : float64 [R, C]
        Conductances of all cells, S; each column is a bit line.
    wires : Wires
        ``exact`` solves are kept on disk, see `cimsim.crossbar.operator_cache`.

    Returns
    -------
    operator : float64 [R, C]
        Current into each bit line's virtual ground per volt at each word line's source, S.
    shares : float64 [R, C]
        Share of its current that a cell keeps when all rows are driven, by `fast_shares`.

    Raises
    ------
    SimulationError
        Wires for which ``fast`` says nothing.
    """
    lines = Resistances.of(wires)
    shares = fast_shares(g_s, lines)
    if wires.model == "exact":
        solve = functools.partial(crossbar_operator, wires=lines)
        code = (__name__, kernels.__name__, wire_tree.__name__)
        return cached(solve, g_s, astuple(lines), code), shares
    worst = 1 - shares.min()
    if worst > FAST_LIMIT:
        raise SimulationError(
            f"wires.model: fast is good for cells that lose up to {100 * FAST_LIMIT:.0f} % of "
            f"their current, here one loses {100 * worst:.0f} %; use wires.model: exact"
        )
    return g_s * shares, shares


def line_factors(g_s: Matrix, wires: Resistances) -> tuple[Matrix, Matrix]:
    """Return what word lines and bit lines leave of each cell's current when the others are ideal.

    Returns
    -------
    word : float64 [R, C]
        Voltage ``u[i, j]`` per volt at the source of its word line, all bit lines at 0 V.
    bit : float64 [R, C]
        Share of the current of cell i, j that reaches the virtual ground of its bit line, all word
        lines ideal.
    """
    g_s = checked(g_s)
    return _word_shares(g_s, wires), kernels.line_shares(g_s, wires.bit, wires.sense)


def crossbar_operator(g_s: Matrix, wires: Resistances) -> Matrix:
    """Solve a crossbar exactly.

    From 128 lines of either kind on by halves of halves, `cimsim.crossbar.wire_tree`, in O(N**3).
    Smaller ones column by column: the bit lines are eliminated in closed form: what is left couples
    the word-line nodes ``u_j`` of one column by the dense admittance ``M_j`` [R, R] of its bit
    line, and neighbouring columns by ``1 / r_word``. Seen from column j away from the drivers the
    array is an admittance ``Y_j = M_j + (Y_{j+1}**-1 + r_word)**-1``, and ``u_{j+1} = B_{j+1} u_j``
    with ``B_j = (1 + r_word Y_j)**-1``. Going from the last column to the first, the functionals
    ``I_k = a_k . u_j`` of all columns k >= j are kept and multiplied by ``B_j``; at last ``u_0 = (1
    + r_driver Y_0)**-1 V``. O(C R**3) time for R <= C, O(R C + R**2) memory; where R > C the
    reciprocal circuit is solved.

    Parameters
    ----------
    g_s : float64 [R, C]
        Cell conductances, S, >= 0.
    wires : Resistances
        Any of them may be 0, all of them give ``g_s`` itself.

    Returns
    -------
    float64 [R, C]
        ``A`` in S, with ``I = A.T @ V``. Relative error about 1e-12, up to 1e-8 where the
        resistances of one line differ by many powers of ten.

    Raises
    ------
    SimulationError
        Conductances that are negative or not finite.
    """
    g_s = checked(g_s)
    word, bit = line_factors(g_s, wires)
    # lines of one kind without resistance leave those of the other kind apart from each other
    if wires.bit == wires.sense == 0 or wires.word == wires.driver == 0:
        return g_s * word * bit
    # one BLAS thread: the same bits for any number of cores, and small products are faster so
    with _blas().limit(limits=1, user_api="blas"):
        if min(g_s.shape) >= _HALVED:
            return wire_tree.solve(g_s, *astuple(wires))
        if g_s.shape[0] <= g_s.shape[1]:
            return _eliminate(g_s, wires)
        # reciprocal: bit lines become word lines, and both are numbered from the other end
        turned = _eliminate(np.ascontiguousarray(g_s[::-1, ::-1].T), wires.reciprocal)
        return np.ascontiguousarray(turned.T[::-1, ::-1])


def fast_operator(g_s: Matrix, wires: Resistances) -> Matrix:
    """Approximate a crossbar by one ladder for each line; O(R C) time.

    ``A = g * bit * word``: ``bit`` is the share of `line_factors` with ideal word lines, ``word``
    the same share of the word lines, whose cells are taken as ``g * bit`` because the bit line's
    own drop leaves less voltage across them. Exact where either kind of line has no resistance and
    for an array of one row; to first order in the resistances exact always. Left out are the
    currents that run back from one bit line through the cells to another.

    Error of the currents against `crossbar_operator`, rms over rms, at most (arrays of 16 x 16 to
    256 x 256 and 512 x 64, uniform, logarithmic and sparse cells, segments or ends resistive):

    ====================== ================ =================== =======
    largest loss of a cell all rows, random a tenth of the rows one row
    ====================== ================ =================== =======
    10 %                   3e-4             1e-3                2e-3
    20 %                   1e-3             4e-3                7e-3
    30 %                   3e-3             1e-2                2e-2
    50 % (`FAST_LIMIT`)    1e-2             4e-2                7e-2
    ====================== ================ =================== =======

    Parameters
    ----------
    g_s : float64 [R, C]
        Cell conductances, S, >= 0.
    wires : Resistances

    Returns
    -------
    float64 [R, C]
        ``A`` in S, with ``I = A.T @ V``.

    Raises
    ------
    SimulationError
        Conductances that are negative or not finite.
    """
    return checked(g_s) * fast_shares(g_s, wires)


def fast_shares(g_s: Matrix, wires: Resistances) -> Matrix:
    """Return the factors ``word * bit`` of `fast_operator`, 0 .. 1, also of cells without current.

    With equal voltages on all word lines a factor is the share of the voltage that is left across
    the cell, and the share of a current injected there that reaches the virtual ground.
    """
    g_s = checked(g_s)
    bit: Matrix = kernels.line_shares(g_s, wires.bit, wires.sense)
    return _word_shares(g_s * bit, wires) * bit


def _word_shares(g_s: Matrix, wires: Resistances) -> Matrix:
    """Return the voltage of each word-line node per volt at its source, bit lines at 0 V."""
    from_far_end = np.ascontiguousarray(g_s[:, ::-1].T)
    shares: Matrix = kernels.line_shares(from_far_end, wires.word, wires.driver)
    return shares.T[:, ::-1]


def checked(g_s: Matrix) -> Matrix:
    """Return conductances as a contiguous float64 matrix, or raise a `SimulationError`."""
    g_s = np.ascontiguousarray(g_s, np.float64)
    if g_s.ndim != 2 or g_s.size == 0:
        raise SimulationError(f"conductances: expected rows x columns, got shape {g_s.shape}")
    if not np.isfinite(g_s).all() or g_s.min() < 0:
        raise SimulationError("conductances: expected finite values of 0 S or more")
    return g_s


@functools.cache
def _blas() -> ThreadpoolController:
    """Return the handle on the BLAS libraries; finding them takes milliseconds, so once."""
    return ThreadpoolController()


def _eliminate(g: Matrix, wires: Resistances) -> Matrix:
    rows, cols = g.shape
    # the short recursion knows r_word Y_j only; the driver needs Y_0 itself
    lost = np.finfo(float).eps * wires.driver * cols
    if lost <= _CANCELLED * wires.word:
        found, seen = _short(g, wires)
        seen = (seen - np.eye(rows)) * (wires.driver / wires.word)
    else:
        found, seen = _long(g, wires)
        seen *= wires.driver
    seen[np.diag_indices(rows)] += 1
    factor = _factor(seen)
    solved, _ = lapack.dpotrs(factor, found, lower=0)
    return np.ascontiguousarray(solved[:, ::-1])


def _short(g: Matrix, wires: Resistances) -> tuple[Matrix, Matrix]:
    """Return the functionals on ``u_0`` [R, C], last column first, and ``1 + r_word Y_0``."""
    rows, cols = g.shape
    block = np.eye(rows)
    found, spare = np.empty((2, cols, rows))
    # a column's product and the next column's inverse do not wait for each other: two cores
    with ThreadPoolExecutor(1) as beside:
        product: Future[None] | None = None
        for done in range(cols):
            if done:
                inverse = _inverse(block)
                if product is not None:
                    product.result()
                    found, spare = spare, found
                product = beside.submit(_times, found[:done], inverse, spare[:done])
                block = inverse.copy()
            # 1 + r_word (M_j + (1 - B) / r_word)
            cells = g[:, cols - 1 - done]
            sums = kernels.add_line(block, cells, wires.bit, wires.sense, -1.0, 2.0, wires.word)
            # the product under way reads found[:done] and fills spare[:done]
            (found if product is None else spare)[done] = sums
        if product is not None:
            product.result()
            found = spare
    return found.T, block


def _times(rows: Matrix, lower: Matrix, out: Matrix) -> None:
    """Multiply rows by a symmetric matrix given by its lower triangle."""
    blas.dsymm(1.0, lower.T, rows.T, c=out.T, overwrite_c=1, lower=0)


def _long(g: Matrix, wires: Resistances) -> tuple[Matrix, Matrix]:
    """Return the functionals on ``u_0`` [R, C], last column first, and ``Y_0``."""
    rows, cols = g.shape
    block = np.zeros((rows, rows))
    found = np.empty((cols, rows))
    for done in range(cols):
        if done and wires.word > 0:
            whole = block + np.tril(block, -1).T
            factor = _factor(np.eye(rows) + wires.word * whole)
            through, _ = lapack.dpotrs(factor, whole, lower=0)
            found[:done] -= wires.word * (found[:done] @ through)
            block = np.tril(through)
        cells = g[:, cols - 1 - done]
        found[done] = kernels.add_line(block, cells, wires.bit, wires.sense, 1.0, 0.0, 1.0)
    return found.T, block


def _factor(lower: Matrix) -> Matrix:
    """Return the Cholesky factor (upper, column-major) of a matrix given by its lower triangle."""
    factor: Matrix
    factor, fault = lapack.dpotrf(lower.T, lower=0, overwrite_a=1)
    if fault:
        raise SimulationError("wires: the nodal equations are singular to working precision")
    return factor


def _inverse(lower: Matrix) -> Matrix:
    """Return the lower triangle of the inverse of a matrix given by its lower triangle."""
    inverse: Matrix
    inverse, _ = lapack.dpotri(_factor(lower), lower=0, overwrite_c=1)
    return inverse.T
