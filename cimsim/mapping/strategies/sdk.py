"""SDK: shifted and duplicated kernels on a square of windows."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.strategies.base import array_size
from cimsim.mapping.strategies.choice import laid_out, positive, single
from cimsim.mapping.strategies.parallel import ParallelWindow


@dataclass(frozen=True)
class Sdk:
    """The largest square of windows that takes no more arrays than one window (TCAD 2020).

    Zhang et al.: with a parallel window of ``PW = K + d - 1`` pixels a layer takes ``d x d``
    windows as long as ``PW^2 IC <= R ceil(K^2 IC / R)`` and ``d^2 OC <= C ceil(OC / C)``; all
    channels stay together and the matrix is cut at the array's edges. Strides other than 1 give
    ``PW = K + (d - 1) s``.

    Attributes
    ----------
    side : int or None
        At most so many windows along each axis; None: as many as the rule allows.
    """

    side: int | None = None

    def __post_init__(self) -> None:
        positive("sdk", self.side)

    @property
    def name(self) -> str:
        """Name with its parameter."""
        return "sdk" if self.side is None else f"sdk:{self.side}"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Place the square."""
        return laid_out(self.cut(op, chip), op, chip)

    def cut(self, op: MatrixOp, chip: Chip) -> ParallelWindow:
        """Return the square, of one window where no larger one is allowed."""
        best, array = single(op, chip), array_size(op, chip)
        limit = min(op.window_grid) if self.side is None else min(*op.window_grid, self.side)
        for side in range(2, limit + 1):
            cut = ParallelWindow(op, array, (side, side))
            if not within_arrays_of_one(cut):
                break
            best = cut
        return best


def within_arrays_of_one(cut: ParallelWindow) -> bool:
    """Whether a cut has no more row tiles, column tiles and arrays than that of one window."""
    one = ParallelWindow(cut.op, cut.array, (1, 1))
    tiles = [
        [-(-n // size) for n, size in zip(each.size, each.array, strict=True)]
        for each in (one, cut)
    ]  # fmt: skip
    if tiles[1] != tiles[0]:
        return False
    # groups that share an array must go on sharing it
    whole = cut.op.groups > 1 and one.groups_per_array >= 1
    return not whole or cut.tally().arrays <= one.tally().arrays
