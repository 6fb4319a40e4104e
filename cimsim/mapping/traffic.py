"""What a layer moves from window to window: time and energy take it from here, both of them."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Slot


def new_columns(op: MatrixOp, windows_per_activation: int, replicas: int) -> tuple[int, int]:
    """Return (new, all) pixel columns of an activation inside a map row.

    ``windows_per_activation`` are those side by side, of a rectangle one row of it.
    A column ``c`` of the activation at ``x`` was read by an earlier one of the same replica, ``j``
    steps to the left, if that one's columns contain ``c + j * step``. For a dense kernel ``new`` is
    ``min(stride, kernel)``.
    """
    stride, kernel, dilation = op.window.stride[1], op.window.kernel[1], op.window.dilation[1]
    read = {w * stride + k * dilation for w in range(windows_per_activation) for k in range(kernel)}
    step = windows_per_activation * replicas * stride
    last = max(read)
    new = [c for c in read if not any(d in read for d in range(c + step, last + 1, step))]
    return len(new), len(read)


def load_bytes(
    op: MatrixOp, layout: Layout, replicas: int, chip: Chip
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the bytes that each array loads for an activation.

    Returns
    -------
    first, later : tuple of int
        By local array: for a replica's first activation in a map row, and for a later one, which
        with ``tile.input_reuse: row`` loads only the share ``new / all`` of its rows, rounded up
        (the same share for every array, wherever its rows lie in the patch).
    """
    shape = layout.window_shape
    wide = layout.windows_per_activation if shape is None else shape[1]
    new, total = new_columns(op, wide, replicas)
    if chip.tile.input_reuse == "none":
        new = total
    first, later = (
        tuple(math.ceil(rows * part / total) * chip.input_bytes for rows in layout.rows_used)
        for part in (total, new)
    )
    return first, later


def loaded_per_frame(op: MatrixOp, layout: Layout, replicas: int, chip: Chip) -> int:
    """Bytes that all replicas together load for one frame."""
    first, later = load_bytes(op, layout, replicas, chip)
    rows, cols = op.window_grid
    if layout.window_shape is None:
        # an activation belongs to the map row of its first window
        cols = math.ceil(cols / layout.windows_per_activation)
    else:
        rows, cols = layout.activation_grid((rows, cols))
    activations = layout.activations(op.window_grid)
    starts = min(rows * min(replicas, cols), activations)
    return starts * sum(first) + (activations - starts) * sum(later)


def partial_sums(layout: Layout, slots: tuple[Slot, ...]) -> tuple[int, int]:
    """Return the partial sums of one activation that change tiles, and those that are added."""
    moves, added = partial_sum_moves(layout, slots)
    return sum(moves.values()), added


def partial_sum_moves(
    layout: Layout, slots: tuple[Slot, ...]
) -> tuple[dict[tuple[int, int], int], int]:
    """Return how many partial sums of one activation go from tile to tile, and are added.

    Output values are added up in the tile that holds their first matrix row.
    """
    tiles = np.array([slot.tile for slot in slots])
    n_cols = layout.groups * layout.group_cols
    home = np.empty(layout.windows_per_activation * n_cols, np.int64)
    for b in layout.blocks:
        if b.src_row0 == 0:
            first = b.window * n_cols + b.group * layout.group_cols + b.src_col0
            home[first : first + b.cols] = tiles[b.array]
    moves: dict[tuple[int, int], int] = defaultdict(int)
    for lines, tile in zip(layout.lines, tiles.tolist(), strict=True):
        for target, count in zip(*np.unique(home[lines.outputs], return_counts=True), strict=True):
            if target != tile:
                moves[tile, int(target)] += int(count)
    return dict(moves), sum(len(lines.outputs) for lines in layout.lines) - len(home)
