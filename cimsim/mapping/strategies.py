"""Mapping strategies: a layer's matrix -> the blocks of one replica.

A strategy is any object with a ``name`` and a ``place(op, chip) -> Layout``; adding one is a class
and a line in `STRATEGIES`.
"""

from __future__ import annotations

from typing import Protocol

from cimsim.errors import MappingError, suggest
from cimsim.graph.ir import MatrixOp
from cimsim.hw.spec import Chip
from cimsim.mapping.layout import Block, Layout


class Strategy(Protocol):
    """The contract of a mapping strategy."""

    name: str

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Cut the matrix of ``op`` into blocks of arrays of ``array_size(op, chip)`` weights."""
        ...


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
        blocks, array = [], 0
        for group in range(op.groups):
            for col in range(0, op.group_cols, cols):
                for row in range(0, op.group_rows, rows):
                    height, width = min(rows, op.group_rows - row), min(cols, op.group_cols - col)
                    blocks.append(Block(array, 0, 0, height, width, group, row, col))
                    array += 1
        return Layout.of(op, chip, blocks)


def array_size(op: MatrixOp, chip: Chip) -> tuple[int, int]:
    """Return the rows and columns of weights of ``op`` that one array holds."""
    return chip.array.rows // chip.lines_per_input(op.signed), chip.weight_cols


STRATEGIES: dict[str, Strategy] = {"im2col": Im2col()}


def strategy(name: str | Strategy) -> Strategy:
    """Return a strategy by name; an object that is one already passes through."""
    if not isinstance(name, str):
        return name
    if name not in STRATEGIES:
        raise MappingError(f"mapping: '{name}' is unknown{suggest(name, STRATEGIES)}")
    return STRATEGIES[name]
