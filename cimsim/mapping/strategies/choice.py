"""What strategies with parallel windows share: the cut they start from and parameters."""

from __future__ import annotations

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.strategies.base import array_size
from cimsim.mapping.strategies.im2col import Im2col
from cimsim.mapping.strategies.parallel import ParallelWindow


def single(op: MatrixOp, chip: Chip) -> ParallelWindow:
    """Return the matrix of one window: the counts of im2col."""
    return ParallelWindow(op, array_size(op, chip), (1, 1))


def laid_out(cut: ParallelWindow, op: MatrixOp, chip: Chip) -> Layout:
    """Lay a cut out; one of a single window is im2col."""
    return cut.layout(chip) if cut.windows > 1 else Im2col().place(op, chip)


def positive(name: str, value: int | None) -> None:
    """Refuse a parameter below 1.

    Raises
    ------
    MappingError
        Naming the strategy.
    """
    if value is not None and value < 1:
        raise MappingError(f"mapping: {name}: expected at least 1 window, got {value}")
