"""Bytes that a layer moves, window by window; time and energy use the same numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cimsim.graph.ir import MatrixOp
from cimsim.hw.spec import Chip
from cimsim.mapping.layout import Layout


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one layer.

    Attributes
    ----------
    load_first, load_next : tuple of int
        Bytes that each array takes from its tile buffer for the first window of a map row and for a
        following one. With ``input_reuse: row`` a following window loads only the columns that its
        left neighbour lacks: the share ``min(stride, extent) / extent`` of each array's rows,
        rounded up (every array is charged the same share, wherever its rows lie in the patch).
    reduce : int
        Partial sums that one window sends to the home tile.
    """

    load_first: tuple[int, ...]
    load_next: tuple[int, ...]
    reduce: int

    def load_per_frame(self, op: MatrixOp, windows_per_activation: int = 1) -> int:
        """Bytes that all arrays of one replica load for one frame."""
        rows, cols = op.window_grid
        groups = math.ceil(cols / windows_per_activation)
        return rows * (sum(self.load_first) + (groups - 1) * sum(self.load_next))


def traffic(op: MatrixOp, layout: Layout, chip: Chip) -> Traffic:
    """Bytes that ``op`` moves on ``layout``.

    Partial sums are ``chip.partial_sum_bytes`` each; those of the home array stay where they are.
    """
    first = tuple(rows * chip.input_bytes for rows in layout.rows_used)
    extent, stride = op.window.extent[1], op.window.stride[1]
    reused = chip.tile.input_reuse == "row" and op.layout == "nchw" and stride < extent
    following = tuple(math.ceil(n * stride / extent) for n in first) if reused else first
    values = op.n_cols * layout.windows_per_activation
    extra = sum(layout.cols_used) - values
    return Traffic(first, following, max(0, extra) * chip.partial_sum_bytes)
