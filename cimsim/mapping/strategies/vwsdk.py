"""VW-SDK: rectangles of windows, channels cut to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.lines import n_axis_reads
from cimsim.mapping.strategies.base import Tally, array_size
from cimsim.mapping.strategies.choice import laid_out, single
from cimsim.mapping.strategies.parallel import ParallelWindow

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Vwsdk:
    """Variable-window SDK (Rhe, Moon, Ko: DATE 2022).

    A parallel window of ``PWh x PWw`` pixels has room for ``ICt = floor(R / (PWh PWw))`` input and
    ``OCt = floor(C / (wy wx))`` output channels of its ``wy x wx`` windows in an array, so a frame
    fires ``ceil(N_y / wy) ceil(N_x / wx) ceil(IC / ICt) ceil(OC / OCt)`` arrays. The rectangle with
    the fewest is taken (of equals the lowest, then the narrowest), im2col where none has fewer.

    Attributes
    ----------
    shape : (int, int) or None
        Windows along y and x instead of the best ones; layers on which the map or the array has no
        room for them take fewer.
    """

    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.shape is not None and min(self.shape) < 1:
            raise MappingError(
                f"mapping: vwsdk: expected at least 1x1 windows, got {self.shape[1]}x"
                f"{self.shape[0]}"
            )

    @property
    def name(self) -> str:
        """Name with its parameter, windows along x first."""
        return "vwsdk" if self.shape is None else f"vwsdk:{self.shape[1]}x{self.shape[0]}"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Place the rectangle."""
        return laid_out(self.cut(op, chip), op, chip)

    def cut(self, op: MatrixOp, chip: Chip) -> ParallelWindow:
        """Return the rectangle, of one window for im2col."""
        array, one = array_size(op, chip), single(op, chip)
        ways = rectangles(op, array)
        if self.shape is None:
            # (1, 1) is that of im2col, which need not cut by channels
            fired = np.where(ways.fits, ways.arrays * ways.activations, one.tally().fired)
            fired[0, 0] = one.tally().fired
            place = int(fired.argmin()) if fired.min() < fired[0, 0] else 0
        else:
            wy, wx = (min(n, most) for n, most in zip(self.shape, op.window_grid, strict=True))
            high, wide = (np.arange(n) for n in ways.fits.shape)
            asked = (high[:, None] < wy) & (wide < wx)
            place = int(np.where(ways.fits & asked, ways.windows, 0).argmax())
        y, x = divmod(place, ways.fits.shape[1])
        if (y, x) == (0, 0):
            return one
        return ParallelWindow(op, array, (y + 1, x + 1), by_channel=True)


@dataclass(frozen=True, eq=False, slots=True)
class Rectangles:
    """Counts of rectangles; entry [y, x] has (y + 1, x + 1) windows.

    Attributes
    ----------
    fits : bool [n_y, n_x]
        Whether an array has room for one input and one output channel; else the counts mean
        nothing.
    arrays, activations, windows : int64 [n_y, n_x]
        Arrays of one activation, activations of a frame, windows of one activation.
    rows, cols : int64 [n_y, n_x]
        Rows driven and columns read by one activation, in weights, summed over the arrays.
    """

    fits: NDArray[np.bool_]
    arrays: Ints
    activations: Ints
    windows: Ints
    rows: Ints
    cols: Ints

    def tally(self, y: int, x: int) -> Tally:
        """Return the counts of (y + 1, x + 1) windows."""
        counts = (self.arrays, self.rows, self.cols, self.windows, self.activations)
        return Tally(*(int(count[y, x]) for count in counts))


def rectangles(op: MatrixOp, array: tuple[int, int]) -> Rectangles:
    """Count every rectangle of windows at once; equal to `ParallelWindow.tally` of each."""
    (rows, cols), (grid_y, grid_x) = array, op.window_grid
    high, wide = (_axis(op, axis, array) for axis in (0, 1))
    pixels = high[:, None] * wide
    n_y, n_x = np.arange(1, len(high) + 1)[:, None], np.arange(1, len(wide) + 1)
    windows = n_y * n_x
    kernel = op.window.kernel[0] * op.window.kernel[1]
    channels, groups, out = op.group_rows // kernel, op.groups, op.group_cols
    inside, outside = np.minimum(rows // pixels, channels), np.minimum(cols // windows, out)
    fits = (inside > 0) & (outside > 0)
    n_in = -(-channels // np.maximum(inside, 1))
    n_out = -(-out // np.maximum(outside, 1))
    per_array = np.minimum(rows // (pixels * channels), cols // (windows * out))
    whole = per_array >= 1
    arrays = np.where(whole, -(-groups // np.maximum(per_array, 1)), groups * n_in * n_out)
    activations = -(-grid_y // n_y) * -(-grid_x // n_x)
    return Rectangles(
        fits, arrays, activations, windows,
        groups * pixels * channels * np.where(whole, 1, n_out),
        groups * windows * out * np.where(whole, 1, n_in),
    )  # fmt: skip


def _axis(op: MatrixOp, axis: int, array: tuple[int, int]) -> Ints:
    """Return the pixels along one axis that 1, 2, ... windows read, as far as an array can hold."""
    window = op.window
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    most = max(1, min(op.window_grid[axis], array[1]))
    pixels: list[int] = []
    for n in range(1, most + 1):
        pixels.append(n_axis_reads(kernel, stride, dilation, n))
        if pixels[-1] * window.kernel[1 - axis] > array[0]:
            break
    return np.array(pixels, np.int64)
