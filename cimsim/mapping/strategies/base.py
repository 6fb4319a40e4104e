"""The contract of a mapping strategy, and what all of them count in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Block, Layout


class Strategy(Protocol):
    """The contract of a mapping strategy."""

    @property
    def name(self) -> str:
        """What ``--mapping`` calls it."""
        ...

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Cut the matrix of ``op`` into blocks of arrays of ``array_size(op, chip)`` weights."""
        ...


@dataclass(frozen=True, slots=True)
class Tally:
    """What one activation of all arrays of a layer takes, without building the layout.

    Attributes
    ----------
    arrays : int
    rows, cols : int
        Rows driven and columns read, in weights, summed over the arrays.
    windows : int
        Windows that one activation answers.
    activations : int
        Activations of a frame: how often the arrays fire together.
    """

    arrays: int
    rows: int
    cols: int
    windows: int
    activations: int

    @property
    def fired(self) -> int:
        """Arrays fired for a frame: the "computing cycles" of one array that does all the work."""
        return self.arrays * self.activations


class Cut(Protocol):
    """One way to cut a layer: counted in closed form, or really laid out."""

    def tally(self) -> Tally:
        """Count."""
        ...

    def layout(self, chip: Chip) -> Layout:
        """Lay out; its counts equal those of `tally`."""
        ...


def array_size(op: MatrixOp, chip: Chip) -> tuple[int, int]:
    """Return the rows and columns of weights of ``op`` that one array holds."""
    return chip.array.rows // chip.lines_per_input(op.signed), chip.weight_cols


def grid(op: MatrixOp, rows: int, cols: int) -> list[Block]:
    """Cut every group into blocks of at most ``rows`` x ``cols`` weights, each in its own array."""
    corners = [
        (group, row, col)
        for group in range(op.groups)
        for col in range(0, op.group_cols, cols)
        for row in range(0, op.group_rows, rows)
    ]
    return [
        Block(
            array, 0, 0, min(rows, op.group_rows - row), min(cols, op.group_cols - col),
            group, row, col,
        )
        for array, (group, row, col) in enumerate(corners)
    ]  # fmt: skip
