"""Which windows of a producer a window waits for, and which pixels it lets go of: as tables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cimsim.graph.ir import Window
from cimsim.mapping.dataflow import Dependency, Node

Ints = NDArray[np.int64]
_NOTHING = -(1 << 60)  # makes the sum negative: the window lies above or left of the map


def dependency_tables(node: Node, producer: Node, dependency: Dependency) -> tuple[Ints, Ints]:
    """Return how many windows of the producer's raster order each window row and column needs.

    Window (y, x) of ``node`` needs the first ``table_y[y] + table_x[x]`` windows.
    """
    if dependency.window is None:
        return whole_tables(node, producer)
    rows, cols = node.grid
    last_y = _last_windows(dependency.window, 0, rows, producer)
    last_x = _last_windows(dependency.window, 1, cols, producer)
    table_y = np.where(last_y < 0, _NOTHING, last_y * producer.grid[1])
    table_x = np.where(last_x < 0, _NOTHING, last_x + 1)
    return table_y, table_x


def whole_tables(node: Node, producer: Node) -> tuple[Ints, Ints]:
    """Return the tables of a node that waits for the producer's whole frame."""
    rows, cols = node.grid
    return np.full(rows, producer.windows, np.int64), np.zeros(cols, np.int64)


def release_table(node: Node, producer: Node, dependencies: Iterable[Dependency]) -> Ints:
    """Return the pixels of the producer that nobody needs once 0, 1, ... window rows are stored."""
    rows, (grid_y, grid_x) = node.grid[0], producer.grid
    block_y, block_x = producer.block
    freed = np.full(rows + 1, grid_y, np.int64)
    for dependency in dependencies:
        mine = np.zeros(rows + 1, np.int64)
        if dependency.window is not None:
            first = np.arange(rows) * dependency.window.stride[0] - dependency.window.padding[0]
            mine[:-1] = np.clip(first // block_y, 0, grid_y)
        mine[-1] = grid_y
        freed = np.minimum(freed, mine)
    return freed * block_y * grid_x * block_x


def _last_windows(window: Window, axis: int, count: int, producer: Node) -> Ints:
    """Return the producer's window row or column that each window needs last; < 0: none."""
    size = producer.grid[axis] * producer.block[axis]
    before = window.padding[2 * axis]
    last = np.arange(count, dtype=np.int64) * window.stride[axis] - before
    last += window.extent[axis] - 1
    return np.minimum(last, size - 1) // producer.block[axis]


def ranges(groups: Iterable[int], n: int) -> tuple[Ints, Ints]:
    """Return the start and the length of each group 0 .. n-1 in a list sorted by group."""
    counts = np.bincount(np.asarray(list(groups), np.int64), minlength=n).astype(np.int64)
    return np.cumsum(counts) - counts, counts
