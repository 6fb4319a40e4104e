"""Which line of an array takes which row and column: large weights where wires are short.

A cell loses the less of its current the closer it is to the driver of its word line and to the
sense end of its bit line (`cimsim.crossbar.wires`), so rows of large weights go to the sense end
and columns of large weights to the drivers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.allocation.base import Allocation, Request
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.placement import PlacedLayer

Order = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ShortWires:
    """Another allocation's arrays, with the lines of each array in order of their weights.

    Attributes
    ----------
    arrays : Allocation
        Gives the arrays; whole ones in order by default.
    """

    arrays: Allocation = field(default_factory=InOrder)
    name: str = "short_wires"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Allocate, then order the used lines of each local array."""
        placed = self.arrays.allocate(graph, requests, chip)
        return tuple(_ordered(layer, r.ops[0]) for layer, r in zip(placed, requests, strict=True))


def _ordered(layer: PlacedLayer, op: MatrixOp) -> PlacedLayer:
    rows, cols = [], []
    for blocks in layer.layout.by_array:
        held = weights_of(blocks, layer.layout, op)
        # the drivers are at column 0, the sense amplifiers below the last row
        rows.append(tuple(np.argsort(held.sum(axis=1), kind="stable").tolist()))
        cols.append(tuple(np.argsort(-held.sum(axis=0), kind="stable").tolist()))
    return replace(layer, row_order=tuple(rows), col_order=tuple(cols))


def weights_of(blocks: tuple[Block, ...], layout: Layout, op: MatrixOp) -> NDArray[np.float64]:
    """Return the weight magnitudes on the used rows and columns of one local array.

    Returns
    -------
    float64 [rows used, columns used]
        0 where no block lies.
    """
    whole = np.zeros((layout.array_rows, layout.array_cols))
    rows, cols = np.zeros(layout.array_rows, bool), np.zeros(layout.array_cols, bool)
    for b in blocks:
        part = op.weight[b.group, b.src_row0 : b.src_row0 + b.rows]
        magnitudes = np.abs(part[:, b.src_col0 : b.src_col0 + b.cols])
        whole[b.row0 : b.row0 + b.rows, b.col0 : b.col0 + b.cols] = magnitudes
        rows[b.row0 : b.row0 + b.rows] = True
        cols[b.col0 : b.col0 + b.cols] = True
    held: NDArray[np.float64] = whole[np.ix_(rows, cols)]
    return held
