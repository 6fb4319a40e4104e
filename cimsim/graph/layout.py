"""Where a `MatrixOp` reads and writes: maps to window vectors, output vectors to maps.

Plain numpy, written to be believed; fast kernels are compared with it. Windows are numbered in
raster order (y, then x) within a frame, frames one after another.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import GraphError
from cimsim.graph.ir import MatrixOp

Array = NDArray[np.float32]


def to_nhwc(op: MatrixOp, x: Array) -> Array:
    """Return the input of ``op`` with channels last, C-contiguous; see `channels_last`."""
    return np.ascontiguousarray(channels_last(op, x))


def channels_last(op: MatrixOp, x: Array) -> Array:
    """Return the input of ``op`` with channels last, wherever they lie in memory.

    Parameters
    ----------
    op : MatrixOp
    x : float32 [B, C, H, W] (layout ``nchw``) or [B, ..., F] (layout ``last``)

    Returns
    -------
    float32 [B, H, W, C]
        A linear layer's positions lie along W: [B, 1, positions, F].
    """
    if x.shape[1:] != op.input.shape[1:]:
        raise GraphError(
            f"node '{op.name}': expected an input [B, {', '.join(map(str, op.input.shape[1:]))}], "
            f"got {list(x.shape)}"
        )
    if op.layout == "nchw":
        return x.transpose(0, 2, 3, 1)
    rows, cols = op.input.grid
    return x.reshape(x.shape[0], rows, cols, x.shape[-1])


def from_vectors(op: MatrixOp, y: Array) -> Array:
    """Lay output vectors side by side: the inverse of a window grid.

    Parameters
    ----------
    op : MatrixOp
    y : float32 [B, n_wy, n_wx, n_cols]
        Column ``j`` of group ``g`` at ``g * group_cols + j``: the block's (channel, dy, dx) in
        C order.

    Returns
    -------
    float32 [B, *op.output.shape[1:]], C-contiguous
    """
    batch, n_wy, n_wx, _ = y.shape
    if op.layout == "last":
        return np.ascontiguousarray(y.reshape(batch, *op.output.shape[1:]))
    channels, block_h, block_w = op.out_block
    blocks = y.reshape(batch, n_wy, n_wx, channels, block_h, block_w)
    placed = blocks.transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(placed.reshape(batch, channels, n_wy * block_h, n_wx * block_w))


def im2col(op: MatrixOp, x_nhwc: Array, start: int = 0, stop: int | None = None) -> Array:
    """Collect the input vectors of windows ``start`` to ``stop`` (exclusive).

    Parameters
    ----------
    op : MatrixOp
    x_nhwc : float32 [B, H, W, C]
        As `to_nhwc` returns it.
    start, stop : int
        Window numbers, 0 .. B * op.windows.

    Returns
    -------
    float32 [stop - start, groups, group_rows]
        Rows in the order of ``op.weight``: (kernel y, kernel x, channel of the group). Pixels
        outside of the map are 0.
    """
    batch, _, _, channels = x_nhwc.shape
    n_wy, n_wx = op.window_grid
    stop = batch * n_wy * n_wx if stop is None else stop
    (k_y, k_x), window = op.window.kernel, op.window
    top, bottom, left, right = window.padding
    padded = np.pad(x_nhwc, ((0, 0), (top, bottom), (left, right), (0, 0)))
    per_group = channels // op.groups
    vectors = np.empty((stop - start, op.groups, k_y, k_x, per_group), np.float32)
    for row, index in enumerate(range(start, stop)):
        frame, y, x = np.unravel_index(index, (batch, n_wy, n_wx))
        y0, x0 = y * window.stride[0], x * window.stride[1]
        patch = padded[
            frame,
            y0 : y0 + window.extent[0] : window.dilation[0],
            x0 : x0 + window.extent[1] : window.dilation[1],
        ]
        vectors[row] = patch.reshape(k_y, k_x, op.groups, per_group).transpose(2, 0, 1, 3)
    return vectors.reshape(stop - start, op.groups, op.group_rows)


def output_shape(op: MatrixOp) -> tuple[int, ...]:
    """Return the output shape that window grid and block of ``op`` imply, batch included."""
    batch = op.input.shape[0]
    if op.layout == "last":
        return (*op.input.shape[:-1], op.n_cols)
    n_wy, n_wx = op.window.positions(*op.input.grid)
    channels, block_h, block_w = op.out_block
    return batch, channels, n_wy * block_h, n_wx * block_w


def block_columns(op: MatrixOp) -> int:
    """Return the number of values in the output block of ``op``."""
    return math.prod(op.out_block)
