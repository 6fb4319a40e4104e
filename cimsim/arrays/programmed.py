"""A written array: configured once, read many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays.encode import WeightCode
from cimsim.arrays.planes import Planes, signal_planes, variance_planes
from cimsim.devices.base import AbstractDevice


@dataclass(frozen=True, eq=False)
class ProgrammedArray:
    """The used part of one array after writing; physical columns are slice-major.

    Weight column ``c`` of slice ``s`` is physical column ``s * n_cols + c``.

    Attributes
    ----------
    difference : float32 [n_rows, slices * n_cols]
        Conductance difference of each pair, or of each cell and its row's reference cell, in weight
        LSB, ``(g_max - g_min) / (2**slice_bits -
        1)``. Whole numbers without programming error.
    read_variance : float32 [n_rows, slices * n_cols] or None
        Read-noise variance of the cells of each column, weight LSB squared, at full pulse LSB.
    row_conductance_s : float64 [n_rows]
        Sum of all conductances on each row, S; what a driven row takes its current through.
    slices, slice_bits : int
    is_exact : bool
        True if cells hold the very integers and never fluctuate.
    factors : tuple of float
        What a unit of each slice counts in the output.
    reference_variance : float32 [n_rows, slices] or None
        Read-noise variance of the reference cells; the same draw reaches all columns of a slice.
    """

    difference: NDArray[np.float32]
    read_variance: NDArray[np.float32] | None
    row_conductance_s: NDArray[np.float64]
    slices: int
    slice_bits: int
    is_exact: bool
    factors: tuple[float, ...]
    reference_variance: NDArray[np.float32] | None = None

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

    @property
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

    def partial_sums(self, pulse: NDArray[Any]) -> NDArray[np.float64]:
        """Return the noise-free currents of one pulse, in weight LSB times pulse LSB.

        Parameters
        ----------
        pulse : [B, n_rows]
            Whole numbers 0 .. 2**bits_per_pulse - 1.

        Returns
        -------
        float64 [B, slices * n_cols]
        """
        return pulse.astype(np.float64) @ self.difference.astype(np.float64)

    def noise_variance(self, pulse: NDArray[Any]) -> NDArray[np.float64]:
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


def program_array(
    q: NDArray[np.int32],
    device: AbstractDevice,
    slice_bits: int,
    rngs: Sequence[np.random.Generator],
    code: WeightCode | None = None,
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
    """
    slices = len(rngs)
    code = code or WeightCode("differential", slices * slice_bits + 1, slice_bits)
    n_rows, n_cols = q.shape
    difference = np.empty((n_rows, slices * n_cols), np.float32)
    variance = np.empty_like(difference)
    common = np.zeros((n_rows, slices), np.float32)
    conductance = np.zeros(n_rows)
    lsb_s = (device.g_max_s - device.g_min_s) / code.top
    for s, (levels, rng) in enumerate(zip(code.levels(q), rngs, strict=True)):
        where = slice(s * n_cols, (s + 1) * n_cols)
        target = device.g_min_s + lsb_s * levels
        written = device.program(target, rng)
        lines, nominal, error = code.lines, levels, (written - target) / lsb_s
        sigma = device.read_sigma(written) / lsb_s
        if code.references is not None:
            # one more cell in each row, which all columns of the slice share
            level = np.full((1, n_rows, 1), code.references[s])
            aim = device.g_min_s + lsb_s * level
            held = device.program(aim, rng)
            lines = (*lines, -1.0)
            nominal = np.concatenate([levels, np.broadcast_to(level, q[None].shape)])
            error = np.concatenate([error, np.broadcast_to((held - aim) / lsb_s, q[None].shape)])
            common[:, s] = (device.read_sigma(held)[0, :, 0] / lsb_s) ** 2
            conductance += held[0, :, 0]
        # the integer part is kept apart, so that cells without error give whole numbers
        difference[:, where] = combine(lines, nominal) + combine(lines, error)
        variance[:, where] = np.square(sigma).sum(axis=0)
        conductance += written.sum(axis=(0, 2))
    noisy = bool(variance.any() or common.any())
    return ProgrammedArray(
        difference,
        variance if noisy else None,
        conductance,
        slices,
        slice_bits,
        device.is_exact,
        code.factors,
        common if noisy and common.any() else None,
    )


def combine(lines: tuple[float, ...], cells: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a column reads: its cells by the fixed sign of their line, [rows, cols].

    The only place where cells on several lines become one signed number.

    Parameters
    ----------
    lines : tuple of float
        1 or -1: how the current of each line counts.
    cells : [lines, rows, cols]
        Conductances, or errors of them, in any one unit.
    """
    total: NDArray[np.float64] = lines[0] * cells[0].astype(np.float64)
    for sign, part in zip(lines[1:], cells[1:], strict=True):
        total += sign * part
    return total
