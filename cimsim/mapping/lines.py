"""What the lines of a layer's arrays mean: inputs that drive word lines, outputs of columns.

An activation answers one window or several. Its inputs are numbered once, whatever array they
drive: window by window, in matrix order, where each window has inputs of its own, or pixel by pixel
where the windows form a rectangle of the map and share what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.graph.ir import Window

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Lines:
    """The lines of one array that are used.

    Attributes
    ----------
    rows, cols : int64 [n_rows], int64 [n_cols]
        Driven rows and read columns, in weights, ascending.
    inputs : int64 [n_rows]
        Which input of the activation drives a row, see `Patch`.
    outputs : int64 [n_cols]
        Which output a column adds to: ``window * n_cols + group * group_cols + column``.
    """

    rows: Ints
    inputs: Ints
    cols: Ints
    outputs: Ints


def axis_reads(kernel: int, stride: int, dilation: int, windows: int) -> Ints:
    """Return the positions that neighbouring windows read along one axis, int64 [n], ascending.

    For a dense kernel whose stride does not exceed it these are ``0 .. kernel + (windows - 1) *
    stride - 1``.
    """
    first = np.arange(windows)[:, None] * stride
    return np.unique(first + np.arange(kernel) * dilation)


def n_axis_reads(kernel: int, stride: int, dilation: int, windows: int) -> int:
    """Return ``len(axis_reads(...))``, in closed form where the kernel is dense."""
    if dilation == 1 or kernel == 1:
        return kernel + (windows - 1) * min(stride, kernel)
    return len(axis_reads(kernel, stride, dilation, windows))


@dataclass(frozen=True)
class Patch:
    """The inputs of one activation.

    Attributes
    ----------
    window : Window
        Kernel, stride and dilation of the layer.
    groups, group_rows : int
        Of the layer's matrix; its rows stand as (kernel y, kernel x, channel).
    windows : int
        Windows of one activation.
    shape : (int, int) or None
        They form a rectangle of so many windows along y and x; None: they follow each other in
        raster order, may wrap map rows, and share nothing.
    """

    window: Window
    groups: int
    group_rows: int
    windows: int
    shape: tuple[int, int] | None

    @property
    def channels(self) -> int:
        """Input channels of all groups."""
        return self.groups * self.group_rows // (self.window.kernel[0] * self.window.kernel[1])

    @cached_property
    def reads(self) -> tuple[Ints, Ints]:
        """Pixel rows and columns that a rectangle reads, from its first window's first pixel."""
        wy, wx = self.shape or (1, 1)
        (k_y, k_x), (s_y, s_x), (d_y, d_x) = (
            self.window.kernel, self.window.stride, self.window.dilation,
        )  # fmt: skip
        return axis_reads(k_y, s_y, d_y, wy), axis_reads(k_x, s_x, d_x, wx)

    @property
    def n_inputs(self) -> int:
        """Inputs of one activation."""
        if self.shape is None:
            return self.windows * self.groups * self.group_rows
        ys, xs = self.reads
        return len(ys) * len(xs) * self.channels

    @cached_property
    def elements(self) -> Ints:
        """Input that each matrix row of each window reads, int64 [windows, groups, group_rows].

        Raster windows: ``window * n_rows + group * group_rows + row``. A rectangle: ``(y * len(xs)
        + x) * channels + channel`` with y and x places in `reads`.
        """
        if self.shape is None:
            size = (self.windows, self.groups, self.group_rows)
            return np.arange(self.n_inputs, dtype=np.int64).reshape(size)
        (ys, xs), (wy, wx) = self.reads, self.shape
        y = _places(ys, self.window.kernel[0], self.window.stride[0], self.window.dilation[0], wy)
        x = _places(xs, self.window.kernel[1], self.window.stride[1], self.window.dilation[1], wx)
        # axes: window y, window x, group, kernel y, kernel x, channel
        pixel = y[:, None, None, :, None, None] * len(xs) + x[None, :, None, None, :, None]
        per_group = self.channels // self.groups
        group = np.arange(self.groups)[:, None, None, None] * per_group
        elements = pixel * self.channels + group + np.arange(per_group)
        return elements.reshape(self.windows, self.groups, self.group_rows).astype(np.int64)

    def name(self, number: int) -> str:
        """Say in words which input has a number."""
        if self.shape is None:
            window, row = divmod(number, self.groups * self.group_rows)
            group, row = divmod(row, self.group_rows)
            return f"row {row} of group {group}, window {window}"
        ys, xs = self.reads
        pixel, channel = divmod(number, self.channels)
        y, x = divmod(pixel, len(xs))
        return f"channel {channel} of pixel (y {ys[y]}, x {xs[x]})"


def _places(reads: Ints, kernel: int, stride: int, dilation: int, windows: int) -> Ints:
    """Return where in ``reads`` each kernel position of each window stands, [windows, kernel]."""
    position = np.arange(windows)[:, None] * stride + np.arange(kernel) * dilation
    return np.searchsorted(reads, position)
