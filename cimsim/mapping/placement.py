"""Where the blocks of a layer sit on the chip: arrays, origins inside them, and line orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cimsim.mapping.layout import Layout

Origin = tuple[int, int]  # word line and weight column of an array


@dataclass(frozen=True, slots=True)
class Slot:
    """One array of the chip."""

    tile: int
    array: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A block of a layer at its final place; what checks, reports and pictures read.

    Attributes
    ----------
    layer, replica, tile, array
        Whose block it is and the array that holds it.
    local : int
        Array of the layout; its rows are driven and its columns read together.
    row0, rows : int
        Word lines of the array.
    col0, cols : int
        Weight columns of the array.
    group, src_row0, src_col0, window : int
        As in `cimsim.mapping.layout.Block`.
    """

    layer: str
    replica: int
    tile: int
    array: int
    local: int
    row0: int
    col0: int
    rows: int
    cols: int
    group: int
    src_row0: int
    src_col0: int
    window: int

    def fits(self, tiles: int, arrays: int, word_lines: int, weight_cols: int) -> bool:
        """Whether it lies within one of ``arrays`` arrays of one of ``tiles`` tiles."""
        return (
            0 <= self.tile < tiles
            and 0 <= self.array < arrays
            and 0 <= self.row0 <= word_lines - self.rows
            and 0 <= self.col0 <= weight_cols - self.cols
        )

    @property
    def where(self) -> str:
        """Layer, replica, array and rectangle, for messages."""
        return (
            f"layer '{self.layer}', replica {self.replica}, tile {self.tile}, array {self.array}, "
            f"rows {self.row0}..{self.row0 + self.rows - 1}, "
            f"columns {self.col0}..{self.col0 + self.cols - 1}"
        )


@dataclass(frozen=True)
class PlacedLayer:
    """One programmed matrix: its layout, the operations that use it and the arrays of each replica.

    Attributes
    ----------
    name : str
        ``weights_id`` of the operations; the name of the first one where they have none.
    ops : tuple of str
        `MatrixOp` names in execution order; several when the network uses the same weights again.
    slots : tuple of tuple of Slot
        ``slots[replica][local array]``.
    origins : tuple of tuple of (int, int)
        ``origins[replica][local array]``: word line and weight column of the array that row 0 and
        column 0 of the local array take; () where all of them are (0, 0).
    row_order, col_order : tuple of tuple of int
        ``row_order[local array]``: the used row of the layout (counted from the top, 0, 1, ...)
        whose weights and input each used row of the array takes; () where none is moved. The same
        for columns.
    load : int
        Which filling of the chip within a frame holds it, 0, 1, ...
    """

    name: str
    ops: tuple[str, ...]
    layout: Layout
    slots: tuple[tuple[Slot, ...], ...]
    origins: tuple[tuple[Origin, ...], ...] = ()
    row_order: tuple[tuple[int, ...], ...] = ()
    col_order: tuple[tuple[int, ...], ...] = ()
    load: int = 0

    def origin(self, replica: int, local: int) -> Origin:
        """Word line and weight column of a local array's upper left corner."""
        return self.origins[replica][local] if self.origins else (0, 0)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Every block of every replica."""
        return tuple(self._placements())

    def _placements(self) -> Iterator[Placement]:
        lines = self.layout.lines_per_row
        for replica, slots in enumerate(self.slots):
            for b in self.layout.blocks:
                row, col = self.origin(replica, b.array)
                yield Placement(
                    self.name, replica, slots[b.array].tile, slots[b.array].array, b.array,
                    row + lines * b.row0, col + b.col0, lines * b.rows, b.cols,
                    b.group, b.src_row0, b.src_col0, b.window,
                )  # fmt: skip
