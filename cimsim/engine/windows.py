"""Where the windows of an operation find their input vectors in the flat, padded map of codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.graph.ir import MatrixOp


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

    @classmethod
    def of_map(cls, op: MatrixOp, codes: NDArray[Any], lines: int = 1) -> WindowCodes:
        """Take the flat, padded map of ``op`` with ``lines`` codes for each value."""
        bases, offsets = window_places(op)
        places = offsets[:, None] * lines + np.arange(lines)
        return cls(codes, bases * lines, places.reshape(-1))


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


def runs_of(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (first row, offset, rows) of stretches whose offsets rise by one, int64 [n, 3]."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(offsets) != 1) + 1])
    lengths = np.diff(np.append(starts, len(offsets)))
    return np.stack([starts, offsets[starts], lengths], axis=1).astype(np.int64)
