"""OMM and multi-point: neighbouring windows of a map row merged into one long vector."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.strategies.base import array_size
from cimsim.mapping.strategies.choice import laid_out, positive, single
from cimsim.mapping.strategies.parallel import ParallelWindow
from cimsim.mapping.strategies.sdk import within_arrays_of_one


@dataclass(frozen=True)
class Omm:
    """Overlapped mapping (Zhu et al., ICCAD 2018): d windows side by side share their pixels.

    The merged vector has ``K (K + (d - 1) s) IC`` values and the kernel stands in it d times, each
    copy in columns of its own and s pixels further down, so a frame takes ``ceil(N_x / d) N_y``
    activations of ``ceil(rows / R) ceil(d OC / C)`` arrays (fewer where a tile would hold zeros
    only) and, where one array holds all, ``(K + (d - 1) s) / (d K)`` of im2col's input conversions.

    Attributes
    ----------
    windows : int or None
        d. None: of all d that take no more column tiles than one window, the one with which a
        frame fires the fewest arrays; the smallest of equals.
    """

    windows: int | None = None

    def __post_init__(self) -> None:
        positive("omm", self.windows)

    @property
    def name(self) -> str:
        """Name with its parameter."""
        return "omm" if self.windows is None else f"omm:{self.windows}"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Place the merged windows."""
        return laid_out(self.cut(op, chip), op, chip)

    def cut(self, op: MatrixOp, chip: Chip) -> ParallelWindow:
        """Return the merged windows."""
        array, along = array_size(op, chip), op.window_grid[1]
        if self.windows is not None:
            return ParallelWindow(op, array, (1, max(1, min(self.windows, along))))
        cuts = [ParallelWindow(op, array, (1, d)) for d in range(1, self.most(op, chip) + 1)]
        return min(cuts, key=lambda cut: cut.tally().fired)

    @staticmethod
    def most(op: MatrixOp, chip: Chip) -> int:
        """Return how many windows take no more column tiles than one."""
        _, cols = array_size(op, chip)
        room = cols * -(-op.group_cols // cols) // op.group_cols
        return max(1, min(op.window_grid[1], room))


@dataclass(frozen=True)
class Multipoint:
    """Multi-point mode of the WTM2101 (Bai et al., TCAD 2024): some points of a row at once.

    OMM with a given number of points, 2 to 4 on that chip, as far as they take no more arrays than
    one point; else fewer points.

    Attributes
    ----------
    points : int
    """

    points: int = 4

    def __post_init__(self) -> None:
        positive("multipoint", self.points)

    @property
    def name(self) -> str:
        """Name with its parameter."""
        return f"multipoint:{self.points}"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Place the points."""
        return laid_out(self.cut(op, chip), op, chip)

    def cut(self, op: MatrixOp, chip: Chip) -> ParallelWindow:
        """Return the points that are taken together."""
        array = array_size(op, chip)
        for points in range(min(self.points, op.window_grid[1]), 1, -1):
            cut = ParallelWindow(op, array, (1, points))
            if within_arrays_of_one(cut):
                return cut
        return single(op, chip)
