"""Where windows and activations find their inputs in the flat, padded map of codes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.graph.ir import MatrixOp, Window
from cimsim.kernels.arrays import Codes
from cimsim.mapping.layout import Layout

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Reads:
    """Where each activation finds its inputs in a flat map of codes.

    Attributes
    ----------
    bases : int64 [activations], or [activations, windows] where each window has inputs of its own
        Where an activation, or each of its windows, begins.
    offsets : int64 [n_inputs]
        Where an input lies from there; for windows with inputs of their own one window's.
    answered : int
        Windows of the map that all activations answer; those beyond its edge do not count.
    row : int
        Activations of a row of the map; 1 where there are no rows.
    """

    bases: NDArray[np.int64]
    offsets: NDArray[np.int64]
    answered: int
    row: int = 1

    @classmethod
    def of_vectors(cls, n: int, n_inputs: int) -> Reads:
        """Take ``n`` vectors that are collected already, one behind the other."""
        return cls(np.arange(n, dtype=np.int64) * n_inputs, np.arange(n_inputs), n)

    @classmethod
    def of_places(cls, places: Places, lines: int = 1) -> Reads:
        """Take a map of ``places.shape`` with ``lines`` codes for each value."""
        offsets = places.offsets[:, None] * lines + np.arange(lines)
        return cls(places.bases * lines, offsets.reshape(-1), places.answered, places.row)

    @property
    def row_offsets(self) -> NDArray[np.int64]:
        """Where an input lies in what `block` returns, int64 [n_inputs]."""
        if self.bases.ndim == 1:
            return self.offsets
        return np.arange(self.bases.shape[1] * len(self.offsets))

    def block(self, codes: Codes, start: int, stop: int) -> tuple[Codes, NDArray[np.int64]]:
        """Return codes and where activations ``start`` to ``stop`` begin in them.

        Windows with inputs of their own are collected side by side, a block at a time.
        """
        if self.bases.ndim == 1:
            return codes, self.bases[start:stop]
        vectors = self.vectors(codes, np.arange(start, min(stop, len(self.bases))))
        begins = np.arange(len(vectors), dtype=np.int64) * vectors.shape[1]
        return vectors.reshape(-1), begins

    def vectors(self, codes: NDArray[Kind], chosen: NDArray[np.int64]) -> NDArray[Kind]:
        """Collect the inputs of some activations, [n, n_inputs]."""
        bases = self.bases[chosen].reshape(len(chosen), -1)
        found = np.empty((*bases.shape, len(self.offsets)), codes.dtype)
        for first, offset, length in runs_of(self.offsets).tolist():
            begins = bases[:, :, None] + np.arange(offset, offset + length)
            found[:, :, first : first + length] = codes[begins]
        return found.reshape(len(chosen), -1)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the activations of an operation read and write.

    Attributes
    ----------
    shape : (int, int, int)
        Height, width and channels of the padded map that holds all they read. Rows and columns
        that edge activations read beyond the layer's own padding are padding, too.
    bases : int64 [activations] or [activations, windows]
        As `Reads.bases`, one code for each value.
    offsets : int64 [n_inputs]
    windows : int64 [activations, windows]
        The windows that an activation answers, in raster order of the map; -1: beyond its edge.
    row : int
        Activations of a row of the map; 1 where they are not single windows.
    """

    shape: tuple[int, int, int]
    bases: NDArray[np.int64]
    offsets: NDArray[np.int64]
    windows: NDArray[np.int64]
    row: int = 1

    @classmethod
    def of(cls, op: MatrixOp, layout: Layout, first: NDArray[np.int64] | None = None) -> Places:
        """Follow a layout of the operation's matrix.

        ``first`` holds the windows at which activations begin, int64 [n]: anywhere on the map, as
        calibration takes them. By default they are those of a frame, each window answered once.
        """
        if layout.windows_per_activation == 1 and first is None:
            return cls.of_windows(op)
        if first is None:
            first = _first_windows(op, layout)
        if layout.window_shape is None:
            return cls._raster(op, layout, first)
        return cls._rectangles(op, layout, layout.window_shape, first)

    @classmethod
    def of_windows(cls, op: MatrixOp) -> Places:
        """Take one window at a time."""
        bases, offsets = window_places(op)
        windows = np.arange(op.windows)[:, None]
        return cls(padded_shape(op), bases, offsets, windows, op.window_grid[1])

    @property
    def answered(self) -> int:
        """Windows of the map that all activations together answer."""
        return int(np.count_nonzero(self.windows >= 0))

    @classmethod
    def _raster(cls, op: MatrixOp, layout: Layout, first: NDArray[np.int64]) -> Places:
        """Consecutive windows; those after the last one read blank rows below the map."""
        height, width, channels = padded_shape(op)
        bases, offsets = window_places(op)
        windows = first[:, None] + np.arange(layout.windows_per_activation)
        windows[windows >= op.windows] = -1
        below = np.append(bases, height * width * channels)
        shape = (height + op.window.extent[0], width, channels)
        return cls(shape, below[windows], offsets, windows)

    @classmethod
    def _rectangles(
        cls, op: MatrixOp, layout: Layout, shape: tuple[int, int], first: NDArray[np.int64]
    ) -> Places:
        height, width, channels = padded_shape(op)
        (n_y, n_x), (wy, wx) = op.window_grid, shape
        (s_y, s_x), extent = op.window.stride, op.window.extent
        y, x = np.divmod(first, n_x)
        height = max(height, (int(y.max(initial=0)) + wy - 1) * s_y + extent[0])
        width = max(width, (int(x.max(initial=0)) + wx - 1) * s_x + extent[1])
        bases = (y * s_y * width + x * s_x) * channels
        reads_y, reads_x = layout.patch.reads
        pixel = (reads_y[:, None] * width + reads_x) * channels
        offsets = pixel[:, :, None] + np.arange(channels)
        # axes: activation, window y, window x
        in_y = (y[:, None] + np.arange(wy))[:, :, None]
        in_x = (x[:, None] + np.arange(wx))[:, None, :]
        windows = np.where((in_y < n_y) & (in_x < n_x), in_y * n_x + in_x, -1)
        return cls(
            (height, width, channels), bases, offsets.reshape(-1), windows.reshape(len(y), wy * wx)
        )


def _first_windows(op: MatrixOp, layout: Layout) -> NDArray[np.int64]:
    """Return the first window of each activation of a frame, int64 [activations]."""
    if layout.window_shape is None:
        return np.arange(0, op.windows, layout.windows_per_activation)
    (n_y, n_x), (wy, wx) = op.window_grid, layout.window_shape
    return (np.arange(0, n_y, wy)[:, None] * n_x + np.arange(0, n_x, wx)).reshape(-1)


def padded_shape(op: MatrixOp) -> tuple[int, int, int]:
    """Return (height, width, channels) of the zero-padded input map of ``op``."""
    height, width = op.input.grid
    top, bottom, left, right = op.window.padding
    channels = op.input.shape[1 if op.layout == "nchw" else -1]
    return height + top + bottom, width + left + right, channels


def window_places(op: MatrixOp) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (bases [windows], offsets [n_rows]) in the flat, zero-padded, channels-last map."""
    _, width, channels = padded_shape(op)
    return _places(op.window_grid, op.window, width, channels, op.groups)


@functools.lru_cache(maxsize=64)  # the same for every frame
def _places(
    grid: tuple[int, int], window: Window, width: int, channels: int, groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n_wy, n_wx = grid
    y, x = np.arange(n_wy) * window.stride[0], np.arange(n_wx) * window.stride[1]
    bases = (y[:, None] * width + x) * channels
    k_y = np.arange(window.kernel[0]) * window.dilation[0]
    k_x = np.arange(window.kernel[1]) * window.dilation[1]
    per_group = channels // groups
    pixel = (k_y[:, None] * width + k_x) * channels
    first = np.arange(groups) * per_group
    offsets = first[:, None, None, None] + pixel[None, :, :, None] + np.arange(per_group)
    found = bases.reshape(-1).astype(np.int64), offsets.reshape(-1).astype(np.int64)
    for part in found:
        part.flags.writeable = False
    return found


def runs_of(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (first row, offset, rows) of stretches whose offsets rise by one, int64 [n, 3]."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(offsets) != 1) + 1])
    lengths = np.diff(np.append(starts, len(offsets)))
    return np.stack([starts, offsets[starts], lengths], axis=1).astype(np.int64)
