"""A rectangle of windows that share their inputs, as one matrix cut to arrays.

For windows (a, b) of a rectangle of ``wy x wx`` the *parallel window* holds every pixel that any of
them reads. Its matrix has a row for each value of it and ``wy * wx`` copies of the layer's columns,
each shifted down by the pixels between its window and the first one; the rest is zeros. With one
window it is the layer's matrix itself. All shared-input mappings are this matrix with different
rectangles and cuts: SDK (Zhang et al., TCAD 2020), VW-SDK (Rhe et al., DATE 2022) and OMM (Zhu et
al., ICCAD 2018).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.lines import Patch
from cimsim.mapping.strategies.base import Tally


@dataclass(frozen=True, eq=False)
class ParallelWindow:
    """The matrix of a rectangle of windows and how it is cut.

    Groups whose matrices fit whole stand on diagonals of shared arrays. Others are cut at the
    array's edges, or, ``by_channel``, into as many whole input channels as an array has room for
    at every pixel, and as many output channels at every window.

    Attributes
    ----------
    op : MatrixOp
    array : (int, int)
        Rows and columns of an array, in weights.
    shape : (int, int)
        Windows along y and x.
    by_channel : bool
    """

    op: MatrixOp
    array: tuple[int, int]
    shape: tuple[int, int]
    by_channel: bool = False

    @property
    def windows(self) -> int:
        """Windows of one activation."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def patch(self) -> Patch:
        """Inputs of all groups."""
        op = self.op
        return Patch(op.window, op.groups, op.group_rows, self.windows, self.shape)

    @property
    def channels(self) -> int:
        """Input channels of a group."""
        return self.patch.channels // self.op.groups

    @cached_property
    def pixels(self) -> int:
        """Pixels of the parallel window."""
        ys, xs = self.patch.reads
        return len(ys) * len(xs)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of one group's matrix."""
        return self.pixels * self.channels, self.windows * self.op.group_cols

    @property
    def groups_per_array(self) -> int:
        """Whole groups that an array has room for."""
        (rows, cols), (array_rows, array_cols) = self.size, self.array
        return min(array_rows // rows, array_cols // cols)

    @property
    def channel_tile(self) -> tuple[int, int]:
        """Input and output channels of a group in one array; 0 where not even one fits."""
        rows, cols = self.array
        return (
            min(rows // self.pixels, self.channels), min(cols // self.windows, self.op.group_cols)
        )  # fmt: skip

    def tally(self) -> Tally:
        """Count in closed form."""
        rows, cols = self.size
        groups, (grid_y, grid_x) = self.op.groups, self.op.window_grid
        times = math.ceil(grid_y / self.shape[0]) * math.ceil(grid_x / self.shape[1])
        if self.groups_per_array >= 1:
            arrays = math.ceil(groups / self.groups_per_array)
            return Tally(arrays, groups * rows, groups * cols, self.windows, times)
        if self.by_channel:
            inside, outside = self.channel_tile
            n_in = math.ceil(self.channels / inside)
            n_out = math.ceil(self.op.group_cols / outside)
            return Tally(
                groups * n_in * n_out, groups * n_out * rows, groups * n_in * cols, self.windows,
                times,
            )  # fmt: skip
        driven, read = self._grid_lines()
        return Tally(
            groups * int(np.count_nonzero(read)), groups * int(driven.sum()),
            groups * int(read.sum()), self.windows, times,
        )  # fmt: skip

    def _grid_lines(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows driven and columns read in each (column tile, row tile) of a grid cut.

        A tile that holds zeros only takes no array; lines on which a tile has no weight are not
        used.
        """
        (rows, cols), (array_rows, array_cols) = self.size, self.array
        # reads [windows, pixels]: which pixels a window sees; how many values of each pixel, and
        # columns of each window, lie in a tile
        elements = self.patch.elements[:, 0, :: self.channels] // self.patch.channels
        reads = np.zeros((self.windows, self.pixels), np.int64)
        np.put_along_axis(reads, elements, 1, axis=1)
        values = _overlaps(self.pixels, self.channels, rows, array_rows)
        columns = _overlaps(self.windows, self.op.group_cols, cols, array_cols)
        seen = ((columns > 0).astype(np.int64) @ reads > 0).astype(np.int64)
        meets = (reads @ (values > 0).T.astype(np.int64) > 0).astype(np.int64)
        return seen @ values.T, columns @ meets

    def layout(self, chip: Chip) -> Layout:
        """Lay the matrix out, group by group, column tile by column tile."""
        per_array = self.groups_per_array
        blocks: list[Block] = []
        if per_array >= 1:
            rows, cols = self.size
            for group in range(self.op.groups):
                array, place = divmod(group, per_array)
                whole = self._tile(group, (0, self.channels), (0, self.op.group_cols))
                blocks += [
                    Block(
                        array, b.row0 + place * rows, b.col0 + place * cols, b.rows, b.cols,
                        b.group, b.src_row0, b.src_col0, b.window,
                    )
                    for b in whole
                ]  # fmt: skip
        else:
            cut = self._channel_tiles if self.by_channel else self._grid_tiles
            tiles = (tile for group in range(self.op.groups) for tile in cut(group))
            for array, tile in enumerate(tiles):
                blocks += [_in_array(block, array) for block in tile]
        return Layout.of(self.op, chip, blocks, window_shape=self.shape)

    def _channel_tiles(self, group: int) -> Iterator[list[Block]]:
        inside, outside = self.channel_tile
        for col in range(0, self.op.group_cols, outside):
            for channel in range(0, self.channels, inside):
                yield self._tile(
                    group,
                    (channel, min(channel + inside, self.channels)),
                    (col, min(col + outside, self.op.group_cols)),
                )

    def _grid_tiles(self, group: int) -> Iterator[list[Block]]:
        array_rows, array_cols = self.array
        cut: dict[tuple[int, int], list[Block]] = defaultdict(list)
        for b in self._tile(group, (0, self.channels), (0, self.op.group_cols)):
            for col, c0, c1 in _pieces(b.col0, b.cols, array_cols):
                for row, r0, r1 in _pieces(b.row0, b.rows, array_rows):
                    cut[col, row].append(
                        Block(
                            0, r0 - row * array_rows, c0 - col * array_cols, r1 - r0, c1 - c0,
                            group, b.src_row0 + r0 - b.row0, b.src_col0 + c0 - b.col0, b.window,
                        )
                    )  # fmt: skip
        for place in sorted(cut):
            yield cut[place]

    def _tile(self, group: int, channels: tuple[int, int], cols: tuple[int, int]) -> list[Block]:
        """Return the blocks of some channels and columns, as if an array had room for them all."""
        first, inside, outside = channels[0], channels[1] - channels[0], cols[1] - cols[0]
        # source row and pixel of the first of these channels at each kernel position
        source = np.arange(self.op.group_rows).reshape(-1, self.channels)[:, first]
        pixels = self.patch.elements[:, 0, :: self.channels] // self.patch.channels
        blocks = []
        for window, places in enumerate(pixels):
            for start, stop in _stretches(places, source, inside):
                blocks.append(
                    Block(
                        0, int(places[start]) * inside, window * outside, (stop - start) * inside,
                        outside, group, int(source[start]), cols[0], window,
                    )
                )  # fmt: skip
        return blocks


def _stretches(
    pixels: NDArray[np.int64], source: NDArray[np.int64], step: int
) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of kernel positions whose rows lie side by side in both matrices."""
    together = (np.diff(pixels) == 1) & (np.diff(source) == step)
    ends = [*(np.flatnonzero(~together) + 1).tolist(), len(pixels)]
    return zip([0, *ends[:-1]], ends, strict=True)


def _pieces(first: int, count: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (tile, first, end) of an interval cut at multiples of ``size``."""
    for tile in range(first // size, (first + count - 1) // size + 1):
        yield tile, max(first, tile * size), min(first + count, (tile + 1) * size)


def _overlaps(things: int, length: int, total: int, size: int) -> NDArray[np.int64]:
    """Return how much of each thing of some length lies in each tile, int64 [tiles, things]."""
    tile = np.arange(math.ceil(total / size))[:, None] * size
    thing = np.arange(things) * length
    shared: NDArray[np.int64] = np.minimum(tile + size, thing + length) - np.maximum(tile, thing)
    return shared.clip(min=0)


def _in_array(block: Block, array: int) -> Block:
    return Block(
        array, block.row0, block.col0, block.rows, block.cols, block.group, block.src_row0,
        block.src_col0, block.window,
    )  # fmt: skip
