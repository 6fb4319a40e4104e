"""A written array: configured once, read many times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.parts.array import Wires
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.crossbar.encode import WeightCode
from cimsim.crossbar.faults import FaultCodes, apply_faults
from cimsim.crossbar.nonlinear import Circuit, WiredCells
from cimsim.crossbar.wires import Resistances, fast_shares, wired
from cimsim.kernels.arrays import Numbers
from cimsim.kernels.bitwise import Tables
from cimsim.kernels.planes import Planes, signal_planes, variance_planes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CellHistory:
    """What happens to the cells of one slice between writing and reading.

    Attributes
    ----------
    time_s, temperature_k : float
        As `AbstractDevice.age` takes them.
    rng : numpy.random.Generator
        Where the ageing of cells comes from.
    faults : uint8 [lines, n_rows, n_cols] or None
        See `cimsim.crossbar.faults`; positive and negative cells, or single ones.
    """

    time_s: float
    temperature_k: float
    rng: np.random.Generator
    faults: FaultCodes | None = None

    @property
    def changes(self) -> bool:
        """Whether cells may differ from what was written."""
        aged = self.time_s != 0 or self.temperature_k != REFERENCE_K
        return aged or (self.faults is not None and bool(self.faults.any()))

    def apply(self, g_s: NDArray[np.float64], device: AbstractDevice) -> NDArray[np.float64]:
        """Age cells [lines, n_rows, n_cols], then let faulty ones be what they are."""
        return self.faulty(device.age(g_s, self.time_s, self.temperature_k, self.rng), device)

    def faulty(self, g_s: NDArray[np.float64], device: AbstractDevice) -> NDArray[np.float64]:
        """Let faulty cells [lines, n_rows, n_cols] be what they are."""
        return g_s if self.faults is None else apply_faults(g_s, self.faults, device)


@dataclass(frozen=True, eq=False)
class SlowNoise:
    """What of the read noise of an array stays through a frame, and is drawn with its cells.

    Attributes
    ----------
    held, moving : float
        Shares of the variance of one read: that, and all the rest.
    rngs : sequence of numpy.random.Generator
        One for each slice.
    """

    held: float
    moving: float
    rngs: Sequence[np.random.Generator]

    def holding(
        self, g_s: NDArray[np.float64], sigma_s: NDArray[np.float64], s: int
    ) -> NDArray[np.float64]:
        """Return the cells of slice ``s`` as they are in this frame, S, never negative."""
        drawn = math.sqrt(self.held) * sigma_s * self.rngs[s].standard_normal(g_s.shape)
        return np.maximum(g_s + drawn, 0.0)


@dataclass(frozen=True, eq=False)
class ProgrammedArray:
    """The used part of one array after writing; physical columns are slice-major.

    Weight column ``c`` of slice ``s`` is physical column ``s * n_cols + c``.

    Attributes
    ----------
    difference : float32 [n_rows, slices * n_cols]
        Conductance difference of each pair, or of each cell and its row's reference cell, in weight
        LSB, ``(g_max - g_min) / (2**slice_bits - 1)``. Whole numbers without programming error.
        With resistive wires that of the columns of the array's operator, see
        `cimsim.crossbar.wires`; non-linear cells behind wires have none, and it is the cells' own.
    read_variance : float32 [n_rows, slices * n_cols] or None
        Read-noise variance of the cells of each column, weight LSB squared, at full pulse LSB;
        without what is held through a frame, which is part of the cells.
    row_conductance_s : float64 [n_rows]
        Sum of all conductances on each row, S; what a driven row takes its current through. With
        resistive wires the row sums of the operator: what the drivers give when all rows are
        driven alike, and the sum of their currents always. Of cells taken as linear.
    slices, slice_bits : int
    is_exact : bool
        True if cells hold the very integers and never fluctuate.
    factors : tuple of float
        What a unit of each slice counts in the output.
    reference_variance : float32 [n_rows, slices] or None
        Read-noise variance of the reference cells; the same draw reaches all columns of a slice.
    pulses : int or None
        Programming pulses of all cells; None where write-verify was not run as a loop.
    steepness : float
        ``v_read / V0`` of cells whose current is not linear in the voltage of a pulse, see
        `cimsim.crossbar.nonlinear`; 0 where it is, or where every pulse has the read voltage.
    wired : WiredCells or None
        Non-linear cells behind resistive wires, which stand in the place of ``difference``.
    """

    difference: NDArray[np.float32]
    read_variance: NDArray[np.float32] | None
    row_conductance_s: NDArray[np.float64]
    slices: int
    slice_bits: int
    is_exact: bool
    factors: tuple[float, ...]
    reference_variance: NDArray[np.float32] | None = None
    pulses: int | None = None
    steepness: float = 0.0
    wired: WiredCells | None = None

    @property
    def n_rows(self) -> int:
        """Driven rows."""
        return int(self.difference.shape[0])

    @property
    def n_physical_cols(self) -> int:
        """Columns that are converted for one pulse."""
        return int(self.difference.shape[1])

    @property
    def n_cols(self) -> int:
        """Weight columns."""
        return self.n_physical_cols // self.slices

    @cached_property
    def largest_sum(self) -> float:
        """Largest magnitude of a partial sum per unit of input, over the physical columns."""
        return float(np.abs(self.difference).sum(axis=0, dtype=np.float64).max(initial=0.0))

    @cached_property
    def signal(self) -> Planes | None:
        """`difference` for integer products; None where it has too many digits."""
        return signal_planes(self.difference)

    @cached_property
    def noise(self) -> Planes | None:
        """`read_variance` for integer products."""
        return None if self.read_variance is None else variance_planes(self.read_variance)

    @cached_property
    def tables(self) -> Tables:
        """`signal` and `noise` for pulses of single bits; there must be a signal."""
        if self.signal is None:
            raise AssertionError("no planes")  # `cimsim.engine.path` has looked
        return Tables.of(self.signal, self.noise, self.n_rows)

    def partial_sums(self, pulse: Numbers) -> NDArray[np.float64]:
        """Return the noise-free currents of linear cells, in weight LSB times pulse LSB.

        Parameters
        ----------
        pulse : [B, n_rows]
            Whole numbers 0 .. 2**bits_per_pulse - 1.

        Returns
        -------
        float64 [B, slices * n_cols]
        """
        return pulse.astype(np.float64) @ self.difference.astype(np.float64)

    def noise_variance(self, pulse: Numbers) -> NDArray[np.float64]:
        """Return the read-noise variance of the currents of one pulse, same units squared.

        Cells fluctuate independently, so a column's variance is ``sum_i x_i**2 sigma_i**2``: exact
        in distribution as long as no cell would fluctuate below 0 S.
        """
        if self.read_variance is None:
            return np.zeros((len(pulse), self.n_physical_cols))
        square = pulse.astype(np.float64) ** 2
        own: NDArray[np.float64] = square @ self.read_variance.astype(np.float64)
        if self.reference_variance is None:
            return own
        common = square @ self.reference_variance.astype(np.float64)
        return own + np.repeat(common, self.n_cols, axis=1)


@dataclass(frozen=True, eq=False)
class Effects:
    """What happens to cells besides programming errors, wires and age; nothing by default.

    Attributes
    ----------
    steepness : float
        ``v_read / V0`` of cells that are not linear in the voltage of a pulse. Behind wires they
        are solved pulse by pulse, as ``exact``.
    slow : SlowNoise or None
        Without it all read noise is other in each activation.
    disturb : float
        Share of what a cell holds above ``g_min`` that it loses with each later write on one of its
        lines; see `disturbed`.
    """

    steepness: float = 0.0
    slow: SlowNoise | None = None
    disturb: float = 0.0


def program_array(
    q: NDArray[np.int32],
    device: AbstractDevice,
    slice_bits: int,
    rngs: Sequence[np.random.Generator],
    code: WeightCode | None = None,
    *,
    wires: Wires | None = None,
    histories: Sequence[CellHistory] | None = None,
    effects: Effects | None = None,
) -> ProgrammedArray:
    """Write integer weights into cells.

    Parameters
    ----------
    q : int32 [n_rows, n_cols]
        Signed integer weights of the driven rows and read columns; 0 where nothing is placed: such
        cells hold the level of 0, and all cells conduct ``g_min`` at least.
    device : AbstractDevice
    slice_bits : int
        Bits of one cell.
    rngs : sequence of numpy.random.Generator
        One for each slice; their number is the number of slices.
    code : WeightCode, optional
        How a weight becomes cells; differential pairs by default.
    wires : Wires, optional
        Ideal ones by default. The used rows and columns are taken as an array of their own, next to
        drivers and sense amplifiers; from the drivers on, the bit lines follow each other weight
        column by weight column, slice by slice, the positive line of a pair before the negative;
        reference columns come last.
    histories : sequence of CellHistory, optional
        One for each slice; without them cells are read right after writing and none is faulty.
    effects : Effects, optional

    Raises
    ------
    ConfigError
        A time or temperature that the device has no model for.
    SimulationError
        Wires for which ``fast`` says nothing.
    """
    slices, effects = len(rngs), effects or Effects()
    steepness, slow, disturb = effects.steepness, effects.slow, effects.disturb
    code = code or WeightCode("differential", slices * slice_bits + 1, slice_bits)
    lsb_s = (device.g_max_s - device.g_min_s) / code.top
    lines = code.lines if code.references is None else (*code.lines, -1.0)
    levels = [_levels(code, s, part) for s, part in enumerate(code.levels(q))]
    targets = [[device.g_min_s + lsb_s * part.astype(float) for part in p] for p in levels]
    after: Sequence[CellHistory | None] = [None] * slices if histories is None else histories
    cells, sigmas, pulses = _written(device, targets, rngs, after, disturb)
    if slow is not None:
        cells = [
            [slow.holding(part, sigma, s) for part, sigma in zip(cells[s], sigmas[s], strict=True)]
            for s in range(slices)
        ]
        sigmas = [[math.sqrt(slow.moving) * part for part in parts] for parts in sigmas]
    ideal = wires is None or wires.are_ideal
    solved: WiredCells | None = None
    seen, shares = cells, None
    if wires is not None and not ideal:
        if steepness > 0:
            solved, shares = _solved(wires, cells, lines, lsb_s, steepness)
        else:
            seen, shares = _through(wires, cells)
    parts = _Parts(code, lines, lsb_s, levels, targets)
    difference, variance, common = parts.read(seen, sigmas, shares)
    noisy = bool(variance.any() or common.any())
    return ProgrammedArray(
        difference,
        variance if noisy else None,
        _row_conductance(seen, solved),
        slices,
        slice_bits,
        device.is_exact
        and ideal
        and steepness == 0
        and disturb == 0
        and not any(h is not None and h.changes for h in after),
        code.factors,
        common if noisy and common.any() else None,
        sum(pulses) if pulses else None,
        steepness,
        solved,
    )


def _row_conductance(seen: list[list[Floats]], solved: WiredCells | None) -> Floats:
    """Return what the rows take their current through, S."""
    conductance = np.zeros(seen[0][0].shape[1])
    if solved is not None:
        linear = Circuit.of(solved.g_s, Resistances(*solved.ohms), 0.0)
        return linear.currents(np.ones((1, len(conductance))))[1][0]  # type: ignore[no-any-return]
    for held in seen:
        conductance += sum(part.sum(axis=(0, 2)) for part in held)
    return conductance


def _written(
    device: AbstractDevice, targets: list[list[Floats]], rngs: Sequence[np.random.Generator],
    after: Sequence[CellHistory | None], disturb: float,
) -> tuple[list[list[Floats]], list[list[Floats]], list[int]]:  # fmt: skip
    """Write every slice; return its cells, the noise of a read of each, and counted pulses."""
    written = [
        _write(device, parts, rng, history, disturb)
        for parts, rng, history in zip(targets, rngs, after, strict=True)
    ]
    sigmas = [
        [
            _read_sigma(device, part, start, history)
            for part, start in zip(held, starts, strict=True)
        ]
        for (held, starts, _), history in zip(written, after, strict=True)
    ]
    return [held for held, _, _ in written], sigmas, [n for *_, n in written if n is not None]


@dataclass(frozen=True, eq=False)
class _Parts:
    """What the slices of an array should hold, and how a column takes them together."""

    code: WeightCode
    lines: tuple[float, ...]
    lsb_s: float
    levels: list[list[NDArray[np.int32]]]
    targets: list[list[Floats]]

    def read(
        self, seen: list[list[Floats]], sigmas: list[list[Floats]],
        shares: list[list[Floats]] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
        """Return what a column reads: differences and variances, and the references' variance.

        ``seen`` are the cells behind their wires, ``sigmas`` the noise of a read of each,
        ``shares`` how much of a voltage arrives at them.
        """
        _, n_rows, n_cols = self.levels[0][0].shape
        slices = len(self.levels)
        difference = np.empty((n_rows, slices * n_cols), np.float32)
        variance = np.empty_like(difference)
        common = np.zeros((n_rows, slices), np.float32)
        for s in range(slices):
            where = slice(s * n_cols, (s + 1) * n_cols)
            error = [(a - b) / self.lsb_s for a, b in zip(seen[s], self.targets[s], strict=True)]
            # the integer part is kept apart, so that cells without error give whole numbers
            whole = combine(self.lines, _each(self.levels[s]))
            difference[:, where] = whole + combine(self.lines, _each(error))
            sigma = [part / self.lsb_s for part in sigmas[s]]
            if shares is not None:
                # less voltage across the cell, less of its current arrives
                sigma = [part * share**2 for part, share in zip(sigma, shares[s], strict=True)]
            variance[:, where] = np.square(sigma[0]).sum(axis=0)
            if self.code.references is not None:
                common[:, s] = np.square(sigma[1][0, :, 0])
        return difference, variance, common


def _write(
    device: AbstractDevice,
    targets_s: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
    history: CellHistory | None,
    disturb: float,
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]], int | None]:
    """Return the cells of a slice when they are read and when they were written, and the pulses.

    A reference column, the second of the targets, ages like the others; faults are of weight cells.
    """
    found, fresh, spent = [], [], []
    for number, target in enumerate(targets_s):
        written, pulses = device.write(target, rng)
        if disturb > 0:
            written = disturbed(written, device.g_min_s, disturb)
        read = written
        if history is not None:
            sound = history if number == 0 else replace(history, faults=None)
            read, written = sound.apply(written, device), sound.faulty(written, device)
        found.append(read)
        fresh.append(written)
        spent += [] if pulses is None else [int(pulses.sum())]
    return found, fresh, sum(spent) if spent else None


def disturbed(g_s: NDArray[np.float64], g_min_s: float, share: float) -> NDArray[np.float64]:
    """Let the writing of cells disturb those that were written before them.

    Cells are written once each, word line after word line and along it bit line after bit line, a
    pair's positive line before its negative. What cell (i, j) of R x C holds above ``g_min`` then
    goes down by the same share ``R - 1 - i + C - 1 - j`` times. Pulses of write-verify count as one
    write, slices as arrays apart, and a reference column is one of its own.

    Parameters
    ----------
    g_s : float64 [lines, n_rows, n_cols]
        S, as verified.
    g_min_s : float
    share : float
        0 .. 1.

    Returns
    -------
    float64 [lines, n_rows, n_cols]
    """
    lines, rows, cols = g_s.shape
    bit_line = np.arange(cols)[None, :] * lines + np.arange(lines)[:, None]
    along = lines * cols - 1 - bit_line
    down = rows - 1 - np.arange(rows)
    kept = (1 - share) ** (along[:, None, :] + down[None, :, None])
    left: NDArray[np.float64] = g_min_s + (g_s - g_min_s) * kept
    return left


def _read_sigma(
    device: AbstractDevice,
    g_s: NDArray[np.float64],
    written_s: NDArray[np.float64],
    history: CellHistory | None,
) -> NDArray[np.float64]:
    """Return the read noise of cells when and as warm as they are read, S."""
    if history is None:
        return device.read_sigma(g_s, 0.0, written_s)
    sigma = device.read_sigma(g_s, history.time_s, written_s)
    growth = device.noise_growth(history.temperature_k)
    return sigma if growth == 1 else growth * sigma


def _levels(code: WeightCode, s: int, cells: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Return the levels of a slice's cells [lines, rows, cols] and of its reference column.

    The reference is one more cell in each row [1, rows, 1], which all columns of the slice share.
    """
    if code.references is None:
        return [cells]
    return [cells, np.full((1, cells.shape[1], 1), code.references[s], np.int32)]


def _each(parts: Sequence[Numbers]) -> list[Numbers]:
    """Return all lines of a slice one after the other."""
    return [line for part in parts for line in part]


def combine(lines: tuple[float, ...], cells: Numbers | Sequence[Numbers]) -> NDArray[np.float64]:
    """Return what a column reads: its cells by the fixed sign of their line, [rows, cols].

    The only place where cells on several lines become one signed number.

    Parameters
    ----------
    lines : tuple of float
        1 or -1: how the current of each line counts.
    cells : [lines, rows, cols], or a sequence of [rows, cols]
        Conductances, or errors of them, in any one unit. A reference column is [rows, 1].
    """
    total: NDArray[np.float64] = lines[0] * cells[0].astype(np.float64)
    for sign, line in zip(lines[1:], cells[1:], strict=True):
        total = total + sign * line
    return total


def _through(
    wires: Wires, cells: Sequence[Sequence[NDArray[np.float64]]]
) -> tuple[list[list[NDArray[np.float64]]], list[list[NDArray[np.float64]]]]:
    """Return operator and shares of the cells of all slices, laid out the same way."""
    flat, shape = _side_by_side(cells)
    found = wired(flat, wires)
    return tuple(_laid_out(matrix, shape, cells) for matrix in found)  # type: ignore[return-value]


def _solved(
    wires: Wires,
    cells: Sequence[Sequence[NDArray[np.float64]]],
    signs: tuple[float, ...],
    unit_s: float,
    steepness: float,
) -> tuple[WiredCells, list[list[NDArray[np.float64]]]]:
    """Return non-linear cells of all slices behind wires, and the shares that `_through` returns.

    As in `combine`, one line of a column counts with 1 and one, maybe a reference, with -1.
    """
    flat, shape = _side_by_side(cells)
    lines = Resistances.of(wires)
    shares = _laid_out(fast_shares(flat, lines), shape, cells)
    numbers = np.arange(flat.shape[1], dtype=float)[None]
    read: dict[float, list[NDArray[np.float64]]] = {1.0: [], -1.0: []}
    for parts in _laid_out(numbers, (1, *shape[1:]), cells):
        for sign, line in zip(signs, _each(parts), strict=True):
            read[sign].append(np.broadcast_to(line[0], shape[1]))
    plus, minus = (np.concatenate(read[sign]).astype(np.int64) for sign in (1.0, -1.0))
    ohms = (lines.word, lines.bit, lines.driver, lines.sense)
    return WiredCells(flat, ohms, steepness, plus, minus, unit_s), shares


def _side_by_side(
    cells: Sequence[Sequence[NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Return the cells of all lines of an array [rows, lines] and how `_laid_out` undoes that."""
    pairs = np.stack([parts[0] for parts in cells]).transpose(2, 3, 0, 1)
    n_rows = len(pairs)
    # weight column, slice, sign side by side; then the reference columns, slice by slice
    flat = [pairs.reshape(n_rows, -1), *(part[0] for parts in cells for part in parts[1:])]
    return np.ascontiguousarray(np.concatenate(flat, axis=1)), pairs.shape


def _laid_out(
    matrix: NDArray[np.float64],
    shape: tuple[int, ...],
    cells: Sequence[Sequence[NDArray[np.float64]]],
) -> list[list[NDArray[np.float64]]]:
    """Undo what `_side_by_side` did to the cells."""
    count = int(np.prod(shape[1:]))
    mains = matrix[:, :count].reshape(shape).transpose(2, 3, 0, 1)
    references = matrix[:, count:].T[:, None, :, None]
    return [[mains[s], *references[s : s + len(parts) - 1]] for s, parts in enumerate(cells)]
