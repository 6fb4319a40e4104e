"""What a layer moves from window to window: time and energy take it from here, both of them."""

from __future__ import annotations

import math
from collections import defaultdict

from cimsim.graph.ir import MatrixOp
from cimsim.hw.spec import Chip
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.mapping import Slot


def new_columns(op: MatrixOp, windows_per_activation: int, replicas: int) -> tuple[int, int]:
    """Return (new, all) pixel columns of an activation inside a map row.

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
    new, total = new_columns(op, layout.windows_per_activation, replicas)
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
    wpa = layout.windows_per_activation
    rows, cols = op.window_grid
    activations = math.ceil(rows * cols / wpa)
    # an activation belongs to the map row of its first window
    starts = min(rows * min(replicas, math.ceil(cols / wpa)), activations)
    return starts * sum(first) + (activations - starts) * sum(later)


def partial_sums(layout: Layout, slots: tuple[Slot, ...]) -> tuple[int, int]:
    """Return the partial sums of one activation that change tiles, and those that are added."""
    moves, added = partial_sum_moves(layout, slots)
    return sum(moves.values()), added


def partial_sum_moves(
    layout: Layout, slots: tuple[Slot, ...]
) -> tuple[dict[tuple[int, int], int], int]:
    """Return how many partial sums of one activation go from tile to tile, and are added.

    Output values are added up in the tile that holds their first row tile.
    """
    first = [block for block in layout.blocks if block.src_row0 == 0]
    others = [block for block in layout.blocks if block.src_row0 > 0]
    moves: dict[tuple[int, int], int] = defaultdict(int)
    for block in others:
        source, target = (slots[b.array].tile for b in (block, _owner(block, first)))
        if source != target:
            moves[source, target] += block.cols
    return dict(moves), sum(block.cols for block in others)


def _owner(block: Block, first: list[Block]) -> Block:
    """Block of the first row tile that holds the first column of ``block``."""
    return next(
        home
        for home in first
        if (home.group, home.window) == (block.group, block.window)
        and home.src_col0 <= block.src_col0 < home.src_col0 + home.cols
    )
