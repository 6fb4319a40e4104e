"""Fire the arrays of one layer, block of windows by block of windows.

A block is a fixed number of windows of one frame, whatever the number of threads; its tail is
padded, so that the matrix product always sees the same shape and gives the same bits.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays import kernels
from cimsim.arrays.adc import AdcRange
from cimsim.arrays.encode import pulses_of
from cimsim.devices.base import AbstractDevice
from cimsim.engine.program import PlacedArray, ProgrammedLayer
from cimsim.engine.statistics import OpStatistics
from cimsim.graph.ir import MatrixOp
from cimsim.hw.spec import Chip

BLOCK = 512  # windows; two operands and the sums of a 1024-row array stay within some MB
_EXACT_FLOAT32 = 2**24

Sink = Callable[[int, NDArray[np.float64]], None]


@dataclass(frozen=True, eq=False)
class WindowCodes:
    """Input codes and where each window finds its vector in them.

    Attributes
    ----------
    codes : uint8 or uint16 [n]
    bases : int64 [windows]
        Where a window begins.
    offsets : int64 [n_rows]
        Where element ``group * group_rows + row`` of its vector lies from there.
    """

    codes: NDArray[Any]
    bases: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of_vectors(cls, vectors: NDArray[Any]) -> WindowCodes:
        """Take vectors [windows, n_rows] that are collected already."""
        windows, n_rows = vectors.shape
        bases = np.arange(windows, dtype=np.int64) * n_rows
        return cls(np.ascontiguousarray(vectors).reshape(-1), bases, np.arange(n_rows))


def padded_shape(op: MatrixOp) -> tuple[int, int, int]:
    """Return (height, width, channels) of the zero-padded input map of ``op``."""
    height, width = op.input.grid
    top, bottom, left, right = op.window.padding
    channels = op.input.shape[1 if op.layout == "nchw" else -1]
    return height + top + bottom, width + left + right, channels


def window_places(op: MatrixOp) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (bases [windows], offsets [n_rows]) in the flat, zero-padded, channels-last map."""
    _, width, channels = padded_shape(op)
    (n_wy, n_wx), window = op.window_grid, op.window
    y, x = np.arange(n_wy) * window.stride[0], np.arange(n_wx) * window.stride[1]
    bases = (y[:, None] * width + x) * channels
    k_y = np.arange(window.kernel[0]) * window.dilation[0]
    k_x = np.arange(window.kernel[1]) * window.dilation[1]
    per_group = channels // op.groups
    pixel = (k_y[:, None] * width + k_x) * channels
    first = np.arange(op.groups) * per_group
    offsets = first[:, None, None, None] + pixel[None, :, :, None] + np.arange(per_group)
    return bases.reshape(-1).astype(np.int64), offsets.reshape(-1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Firing:
    """How the arrays of one operation are driven and read.

    Attributes
    ----------
    layer : ProgrammedLayer
    ranges : tuple of AdcRange
        One for each array.
    pulses : tuple of (shift, mask)
    power : int
        Exponent of the pulse value in the read energy, 1 or 2.
    noise_lsb : float
        Input-referred noise of a converter, rms, in steps.
    key : int
        Of the noise, 64 bits.
    """

    layer: ProgrammedLayer
    ranges: tuple[AdcRange, ...]
    pulses: tuple[tuple[int, int], ...]
    power: int
    noise_lsb: float
    key: int

    @classmethod
    def of(
        cls,
        layer: ProgrammedLayer,
        ranges: tuple[AdcRange, ...],
        chip: Chip,
        device: AbstractDevice,
        key: int,
    ) -> Firing:
        """Take what the chip says."""
        quadratic = device.conduction == "ohmic" and chip.dac.encoding == "amplitude"
        return cls(
            layer, ranges, pulses_of(chip.inputs.bits, chip.dac.bits), 2 if quadratic else 1,
            chip.adc.noise_lsb, key,
        )  # fmt: skip

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """float32; float64 where whole numbers would not fit exactly."""
        largest = max(array.written.largest_sum for array in self.layer.arrays)
        too_large = largest * self.pulses[0][1] >= _EXACT_FLOAT32
        return np.float64 if self.layer.is_exact and too_large else np.float32


def fire(
    firing: Firing,
    source: WindowCodes,
    first_window: int,
    sink: Sink,
    pool: Executor | None = None,
    threads: int = 1,
) -> OpStatistics:
    """Apply every window of ``source`` to the arrays of a layer.

    Parameters
    ----------
    firing : Firing
    source : WindowCodes
    first_window : int
        Number of the first window over all frames; the noise is keyed by it.
    sink : callable
        ``sink(start, acc)`` takes the summed codes float64 [windows of the block, n_cols] of
        windows ``start`` and following, in weight LSB times input LSB; called from several threads
        for different blocks.
    pool : Executor, optional
        Where blocks run; without one they run here.
    threads : int
        Number of shares that the blocks are dealt into.

    Returns
    -------
    OpStatistics
        Whole-number counts, and conductances summed in a fixed order: the same for any number of
        threads.
    """
    windows = len(source.bases)
    # a layer of few windows is cut into four blocks, so that it fills two or four cores
    rows = min(BLOCK, max(64, math.ceil(windows / 64) * 16))
    starts = range(0, windows, rows)
    shared = _Shared(firing, source, first_window, rows)
    shares = [starts[i::threads] for i in range(min(threads, len(starts)))]
    if pool is None or len(shares) == 1:
        parts = [_fire_blocks(shared, share, sink) for share in shares]
    else:
        parts = list(pool.map(functools.partial(_fire_blocks, shared, sink=sink), shares))
    counts = sum((counts for counts, _ in parts), Counter())
    applied = [sum(sums) for sums in zip(*(sums for _, sums in parts), strict=True)]
    return OpStatistics(**counts, conductance_s=shared.conductance(applied))


class _Shared:
    """What all threads read: matrices in the dtype of the product, runs, output columns."""

    def __init__(
        self, firing: Firing, source: WindowCodes, first_window: int, block_rows: int
    ) -> None:
        self.firing, self.source = firing, source
        self.first_window, self.block_rows = first_window, block_rows
        self.dtype = firing.dtype
        self.n_cols = len(firing.layer.scales)
        self.groups = self._by_rows(firing.layer.arrays)
        self.runs = [_runs(source.offsets[arrays[0].row_source]) for arrays in self.groups]

    def _by_rows(self, arrays: tuple[PlacedArray, ...]) -> list[list[_Array]]:
        """Put arrays together that are driven by the same vector, to collect it once."""
        found: dict[bytes, list[_Array]] = {}
        for index, array in enumerate(arrays):
            item = _Array(self.firing, index, array, self.dtype)
            found.setdefault(array.row_source.tobytes(), []).append(item)
        return list(found.values())

    def conductance(self, applied: list[NDArray[np.int64]]) -> float:
        """Return the sum of (x / x_fs)**p * G from the sums of x**p on each row of each group."""
        full_scale = float(self.firing.pulses[0][1]) ** self.firing.power
        terms = [
            float(np.dot(sums.astype(np.float64), array.row_conductance_s)) / full_scale
            for sums, arrays in zip(applied, self.groups, strict=True)
            for array in arrays
        ]
        return math.fsum(terms)


class _Array:
    """One array as the loop reads it."""

    def __init__(
        self, firing: Firing, index: int, placed: PlacedArray, dtype: type[np.floating[Any]]
    ) -> None:
        written = placed.written
        self.index = index
        self.row_source = placed.row_source
        self.row_conductance_s = written.row_conductance_s
        self.matrix = written.difference.astype(dtype, copy=False)
        self.variance = written.read_variance
        self.n_rows, self.n_cols = written.n_rows, written.n_physical_cols
        slices = np.repeat(np.arange(written.slices), written.n_cols)
        self.columns = np.stack(
            [2.0 ** (slices * written.slice_bits), placed.adc_gain, placed.adc_offset]
        )
        self.target = np.tile(placed.col_target, written.slices)
        self.adc = firing.ranges[index].packed(firing.noise_lsb)

    def scaled(self, shift: int) -> NDArray[np.float64]:
        """Return the columns' weights for a pulse that counts ``2**shift``."""
        columns = self.columns.copy()
        columns[0] *= 2.0**shift
        return columns


def _runs(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (first row, offset, rows) of stretches whose offsets rise by one, int64 [n, 3]."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(offsets) != 1) + 1])
    lengths = np.diff(np.append(starts, len(offsets)))
    return np.stack([starts, offsets[starts], lengths], axis=1).astype(np.int64)


class _Scratch:
    """Memory of one thread that all its blocks use again."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, int], dtype: type[Any]) -> NDArray[Any]:
        """Return an array with any content."""
        size = shape[0] * shape[1]
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


def _fire_blocks(
    shared: _Shared, starts: range, sink: Sink
) -> tuple[Counter[str], list[NDArray[np.int64]]]:
    """Fire all arrays for the blocks of one thread; the one place where arrays are fired.

    Returns
    -------
    counts : Counter
        Of the fields of `OpStatistics`.
    applied : list of int64 [n_rows]
        For each group of arrays, the sum of pulse values (to the power) that each row was driven
        with.
    """
    firing, source = shared.firing, shared.source
    scratch = _Scratch()
    applied = [np.zeros(arrays[0].n_rows, np.int64) for arrays in shared.groups]
    counts: Counter[str] = Counter(windows=0, saturations=0)
    for start in starts:
        bases = source.bases[start : start + shared.block_rows]
        acc = scratch.take("acc", (len(bases), shared.n_cols), np.float64)
        acc[:] = 0.0
        for arrays, runs, sums in zip(shared.groups, shared.runs, applied, strict=True):
            shape = (shared.block_rows, arrays[0].n_rows)
            x = scratch.take("x", shape, shared.dtype)
            x[len(bases) :] = 0.0
            counts["activations"] += len(bases) * len(arrays)
            for number, (shift, mask) in enumerate(firing.pulses):
                bits = (shift, mask, firing.power)
                kernels.gather(source.codes, bases, runs, bits, x, sums)
                square = None
                if any(array.variance is not None for array in arrays):
                    square = np.square(x, out=scratch.take("square", shape, shared.dtype))
                for array in arrays:
                    stage = array.index * len(firing.pulses) + number
                    window = (np.uint64(shared.first_window + start), np.uint64(stage))
                    counts["saturations"] += _read_out(
                        shared, array, (x, square), shift, window, acc, scratch
                    )
                    counts["pulses"] += len(bases)
                    counts["conversions"] += len(bases) * array.n_cols
                    counts["dac_conversions"] += len(bases) * array.n_rows
        counts["windows"] += len(bases)
        sink(start, acc)
    return counts, applied


def _read_out(
    shared: _Shared,
    array: _Array,
    pulse: tuple[NDArray[Any], NDArray[Any] | None],
    shift: int,
    window: tuple[np.uint64, np.uint64],
    acc: NDArray[np.float64],
    scratch: _Scratch,
) -> int:
    """One pulse on one array: currents, their noise, conversion, shift-add; returns saturations."""
    x, square = pulse
    shape = (shared.block_rows, array.n_cols)
    current = np.matmul(x, array.matrix, out=scratch.take("current", shape, shared.dtype))
    variance = np.empty((0, 0), np.float32)
    if array.variance is not None and square is not None:
        variance = np.matmul(
            square, array.variance, out=scratch.take("variance", shape, np.float32)
        )
    clipped = kernels.convert(
        acc, current, variance, array.scaled(shift), array.target, array.adc, window,
        np.uint64(shared.firing.key),
    )  # fmt: skip
    return int(clipped)
