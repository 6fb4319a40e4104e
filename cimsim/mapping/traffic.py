"""What a layer moves from window to window: time and energy take it from here, both of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


def stations(slots: tuple[Slot, ...], chip: Chip) -> tuple[int, ...]:
    """Return the tiles where a replica's input arrives, one on each chip, its home tile first.

    On each chip it is the tile of the first local array there.
    """
    by_chip: dict[int, int] = {}
    for slot in slots:
        by_chip.setdefault(slot.tile // chip.tile.count, slot.tile)
    return tuple(by_chip.values())


@dataclass(frozen=True, slots=True)
class PartialSums:
    """Partial sums of one activation.

    Attributes
    ----------
    moves : dict
        (tile, tile) of one chip -> sums that go from one to the other.
    home : dict
        Station of a chip other than the home tile's -> sums that go from there to the home tile,
        one for each output value that has rows on that chip.
    added : int
        Additions, all tiles together.
    """

    moves: dict[tuple[int, int], int]
    home: dict[int, int]
    added: int

    @property
    def moved(self) -> int:
        """Sums that change tiles."""
        return sum(self.moves.values()) + sum(self.home.values())


def partial_sums(layout: Layout, slots: tuple[Slot, ...], chip: Chip) -> PartialSums:
    """Return which partial sums of one activation go where.

    On each chip an output value is added up in the tile that holds the first of its matrix rows
    there; what other chips than that of the home tile have added up goes to the home tile.
    """
    tiles = np.array([slot.tile for slot in slots])
    number = {station // chip.tile.count: n for n, station in enumerate(stations(slots, chip))}
    chips = np.array([number[tile // chip.tile.count] for tile in tiles.tolist()])
    n_cols = layout.groups * layout.group_cols
    # target[chip, value]: the tile that adds it up; -1: none of its rows is on that chip
    target = np.full((len(number), layout.windows_per_activation * n_cols), -1, np.int64)
    for b in sorted(layout.blocks, key=lambda b: b.src_row0):
        first = b.window * n_cols + b.group * layout.group_cols + b.src_col0
        here = target[chips[b.array], first : first + b.cols]
        here[here < 0] = tiles[b.array]
    sizes = [len(lines.outputs) for lines in layout.lines]
    outputs = np.concatenate([lines.outputs for lines in layout.lines])
    ends, begins = target[np.repeat(chips, sizes), outputs], np.repeat(tiles, sizes)
    away = ends != begins
    base = int(tiles.max()) + 1
    routes, firsts, counts = np.unique(
        (begins * base + ends)[away], return_index=True, return_counts=True
    )
    array = np.repeat(np.arange(len(sizes)), sizes)[away][firsts]
    order = np.lexsort((routes % base, array))  # in the order in which arrays first need them
    moves = {
        divmod(route, base): n
        for route, n in zip(routes[order].tolist(), counts[order].tolist(), strict=True)
    }
    sent = {
        station: int((target[n] >= 0).sum()) for n, station in enumerate(stations(slots, chip)) if n
    }
    return PartialSums(moves, sent, len(outputs) - target.shape[1])
