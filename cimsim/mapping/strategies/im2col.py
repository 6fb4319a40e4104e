"""The conventional mapping: one window per activation."""

from __future__ import annotations

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.strategies.base import array_size, grid


class Im2col:
    """The conventional mapping: one window per activation, the matrix cut at the array's edges.

    Groups that fit beside each other share an array on its diagonal.
    """

    name = "im2col"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Place groups on diagonals where they fit whole, else cut each group into a grid."""
        rows, cols = array_size(op, chip)
        per_array = min(rows // op.group_rows, cols // op.group_cols)
        if per_array >= 1:
            blocks = [
                Block(
                    g // per_array, g % per_array * op.group_rows, g % per_array * op.group_cols,
                    op.group_rows, op.group_cols, g, 0, 0,
                )
                for g in range(op.groups)
            ]  # fmt: skip
            return Layout.of(op, chip, blocks)
        return Layout.of(op, chip, grid(op, rows, cols))
