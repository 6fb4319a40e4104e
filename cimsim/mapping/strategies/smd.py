"""SMD: copies of the whole matrix on the diagonal of one array."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.strategies.base import Tally, array_size
from cimsim.mapping.strategies.choice import positive
from cimsim.mapping.strategies.im2col import Im2col


@dataclass(frozen=True)
class Smd:
    """Block-diagonal duplication: ``copies`` windows in raster order, nothing shared.

    ``d = min(R // rows, C // columns)`` copies of the matrix (all groups of it) fit an array, so a
    frame takes ``ceil(windows / d)`` activations; baseline of Zhang et al., TCAD 2020, and Rhe et
    al., DATE 2022. Layers of which an array holds fewer than two copies are laid out as im2col.

    Attributes
    ----------
    copies : int or None
        At most so many; None: as many as fit.
    """

    copies: int | None = None

    def __post_init__(self) -> None:
        positive("smd", self.copies)

    @property
    def name(self) -> str:
        """Name with its parameter."""
        return "smd" if self.copies is None else f"smd:{self.copies}"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Place the copies, window by window down the diagonal."""
        cut = self.cut(op, chip)
        return Im2col().place(op, chip) if cut is None else cut.layout(chip)

    def cut(self, op: MatrixOp, chip: Chip) -> Copies | None:
        """Return the copies, None where there is room for one only."""
        rows, cols = array_size(op, chip)
        fit = min(rows // op.n_rows, cols // op.n_cols, op.windows)
        copies = fit if self.copies is None else min(fit, self.copies)
        return Copies(op, copies) if copies > 1 else None


@dataclass(frozen=True, eq=False)
class Copies:
    """Copies of a matrix, groups and all, on the diagonal of one array."""

    op: MatrixOp
    copies: int

    def tally(self) -> Tally:
        """Count in closed form."""
        n, op = self.copies, self.op
        return Tally(1, n * op.n_rows, n * op.n_cols, n, math.ceil(op.windows / n))

    def layout(self, chip: Chip) -> Layout:
        """Lay out."""
        op = self.op
        blocks = [
            Block(
                0, w * op.n_rows + g * op.group_rows, w * op.n_cols + g * op.group_cols,
                op.group_rows, op.group_cols, g, 0, 0, w,
            )
            for w in range(self.copies)
            for g in range(op.groups)
        ]  # fmt: skip
        return Layout.of(op, chip, blocks, self.copies)
