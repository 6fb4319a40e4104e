"""A written array: configured once, read many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays.encode import magnitude_slices
from cimsim.arrays.planes import Planes, signal_planes, variance_planes
from cimsim.devices.base import AbstractDevice


@dataclass(frozen=True, eq=False)
class ProgrammedArray:
    """The used part of one array after writing; physical columns are slice-major.

    Weight column ``c`` of slice ``s`` is physical column ``s * n_cols + c``.

    Attributes
    ----------
    difference : float32 [n_rows, slices * n_cols]
        Conductance difference of each pair in weight LSB, ``(g_max - g_min) / (2**slice_bits -
        1)``. Whole numbers without programming error.
    read_variance : float32 [n_rows, slices * n_cols] or None
        Read-noise variance of both cells of each pair, weight LSB squared, at full pulse LSB.
    row_conductance_s : float64 [n_rows]
        Sum of all conductances on each row, S; what a driven row takes its current through.
    slices, slice_bits : int
    is_exact : bool
        True if cells hold the very integers and never fluctuate.
    """

    difference: NDArray[np.float32]
    read_variance: NDArray[np.float32] | None
    row_conductance_s: NDArray[np.float64]
    slices: int
    slice_bits: int
    is_exact: bool

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
        return pulse.astype(np.float64) ** 2 @ self.read_variance.astype(np.float64)


def program_array(
    q: NDArray[np.int32],
    device: AbstractDevice,
    slice_bits: int,
    rngs: Sequence[np.random.Generator],
) -> ProgrammedArray:
    """Write integer weights into differential pairs.

    Parameters
    ----------
    q : int32 [n_rows, n_cols]
        Signed integer weights of the driven rows and read columns; 0 where nothing is placed: such
        cells are erased, yet they conduct ``g_min``.
    device : AbstractDevice
    slice_bits : int
        Magnitude bits of one cell.
    rngs : sequence of numpy.random.Generator
        One for each slice; their number is the number of slices.
    """
    slices = len(rngs)
    n_rows, n_cols = q.shape
    lsb_s = (device.g_max_s - device.g_min_s) / (2**slice_bits - 1)
    difference = np.empty((n_rows, slices * n_cols), np.float32)
    variance = np.empty_like(difference)
    conductance = np.zeros(n_rows)
    for s, (part, rng) in enumerate(
        zip(magnitude_slices(q, slice_bits, slices), rngs, strict=True)
    ):
        where = slice(s * n_cols, (s + 1) * n_cols)
        target = device.g_min_s + lsb_s * np.stack([np.maximum(part, 0), np.maximum(-part, 0)])
        written = device.program(target, rng)
        error = (written - target) / lsb_s
        # the integer part is kept apart, so that cells without error give whole numbers
        difference[:, where] = part + (error[0] - error[1])
        sigma = device.read_sigma(written) / lsb_s
        variance[:, where] = sigma[0] ** 2 + sigma[1] ** 2
        conductance += written.sum(axis=(0, 2))
    return ProgrammedArray(
        difference,
        variance if variance.any() else None,
        conductance,
        slices,
        slice_bits,
        device.is_exact,
    )
