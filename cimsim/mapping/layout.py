"""What a strategy returns: one replica of a layer's matrix cut into rectangles of local arrays.

A `Layout` knows nothing of tiles: its arrays are numbered 0, 1, ... and allocation decides later
where they sit. All counts of a layer follow from it in closed form.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import MatrixOp, Window
from cimsim.mapping.lines import Ints, Lines, Patch

T = TypeVar("T")
_POINT = Window()


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """A rectangle of one group's matrix at a place in a local array; all sizes in weights.

    Attributes
    ----------
    array : int
        Local array, 0 ... n_arrays - 1.
    row0, col0, rows, cols : int
        The rectangle inside the array.
    group : int
        Group of the matrix it comes from.
    src_row0, src_col0 : int
        Its upper left corner in the group's matrix.
    window : int
        Which window of an activation these columns answer, 0 ... windows_per_activation - 1; of a
        rectangle row by row.
    """

    array: int
    row0: int
    col0: int
    rows: int
    cols: int
    group: int
    src_row0: int
    src_col0: int
    window: int = 0


@dataclass(frozen=True)
class Layout:
    """One replica of a layer: its blocks and how many windows one activation answers.

    Rows and columns count weights: a weight takes ``lines_per_row`` word lines (2 where positive
    and negative part of an input have rows of their own) and one column for each slice.

    The windows of an activation follow each other in raster order and may wrap map rows
    (``window_shape`` None), or they form a rectangle of ``window_shape`` = (along y, along x)
    windows of the grid. ``window`` is the layer's sliding window: windows of a rectangle that see
    the same pixel may share its word line. At the right and bottom edge a rectangle may reach
    beyond the grid; the windows there are computed and dropped.

    Raises
    ------
    MappingError
        If a matrix element is missing or placed twice, two blocks overlap, a block leaves its
        array, or blocks on one line need different inputs or add to different outputs.
    """

    layer: str
    blocks: tuple[Block, ...]
    windows_per_activation: int
    groups: int
    group_rows: int
    group_cols: int
    array_rows: int
    array_cols: int
    lines_per_row: int = 1
    window_shape: tuple[int, int] | None = None
    window: Window = _POINT

    def __post_init__(self) -> None:
        self._check_shape()
        self._check_inside()
        self._check_overlap()
        self._check_cover()
        _ = self.lines  # finds blocks that do not agree on a line

    @classmethod
    def of(
        cls,
        op: MatrixOp,
        chip: Chip,
        blocks: list[Block],
        windows_per_activation: int = 1,
        window_shape: tuple[int, int] | None = None,
    ) -> Layout:
        """Build the layout of ``op`` on the arrays of ``chip``.

        With a ``window_shape`` the number of windows is that of the rectangle.
        """
        lines = chip.lines_per_input(op.signed)
        if window_shape is not None:
            windows_per_activation = window_shape[0] * window_shape[1]
        return cls(
            op.name, tuple(sorted(blocks)), windows_per_activation, op.groups, op.group_rows,
            op.group_cols, chip.array.rows // lines, chip.weight_cols, lines, window_shape,
            op.window,
        )  # fmt: skip

    @cached_property
    def by_array(self) -> tuple[tuple[Block, ...], ...]:
        """Blocks of each local array."""
        blocks: dict[int, list[Block]] = defaultdict(list)
        for block in self.blocks:
            blocks[block.array].append(block)
        return tuple(tuple(blocks[index]) for index in range(max(blocks) + 1))

    @property
    def n_arrays(self) -> int:
        """Arrays of one replica."""
        return len(self.by_array)

    @cached_property
    def rows_used(self) -> tuple[int, ...]:
        """Weight rows driven in each array (times ``lines_per_row`` = word lines)."""
        return tuple(len(lines.rows) for lines in self.lines)

    @cached_property
    def cols_used(self) -> tuple[int, ...]:
        """Weight columns read from each array (times slices = physical columns)."""
        return tuple(len(lines.cols) for lines in self.lines)

    @cached_property
    def row_tiles(self) -> int:
        """Largest number of partial sums that one output value is added up from."""
        return int(np.bincount(np.concatenate([lines.outputs for lines in self.lines])).max())

    @cached_property
    def patch(self) -> Patch:
        """The inputs of one activation."""
        windows = self.windows_per_activation
        shape = self.window_shape if windows > 1 else None  # one window is numbered in one way
        return Patch(self.window, self.groups, self.group_rows, windows, shape)

    @cached_property
    def lines(self) -> tuple[Lines, ...]:
        """Used lines of each local array, and what they mean."""
        return tuple(self._lines(blocks) for blocks in self.by_array)

    def activation_grid(self, window_grid: tuple[int, int]) -> tuple[int, int]:
        """Return the activations of a frame along y and x; raster windows make one long row."""
        rows, cols = window_grid
        if self.window_shape is None:
            return 1, math.ceil(rows * cols / self.windows_per_activation)
        return math.ceil(rows / self.window_shape[0]), math.ceil(cols / self.window_shape[1])

    def activations(self, window_grid: tuple[int, int]) -> int:
        """Return how often one replica's arrays fire for a frame of ``window_grid`` windows."""
        rows, cols = self.activation_grid(window_grid)
        return rows * cols

    def serves(self, op: MatrixOp) -> bool:
        """Whether ``op``, which uses this layout's matrix, slides as the layout expects it to."""
        mine, other = self.window, op.window
        return self.window_shape is None or (mine.kernel, mine.stride, mine.dilation) == (
            other.kernel, other.stride, other.dilation,
        )  # fmt: skip

    @property
    def cells_used(self) -> int:
        """Weights stored by one replica, all copies counted."""
        return sum(block.rows * block.cols for block in self.blocks)

    @property
    def utilisation(self) -> float:
        """Share of the cells of the used arrays that hold a weight."""
        return self.cells_used / (self.n_arrays * self.array_rows * self.array_cols)

    def _where(self, block: Block) -> str:
        return (
            f"layer '{self.layer}', array {block.array}, "
            f"rows {block.row0}..{block.row0 + block.rows - 1}, "
            f"columns {block.col0}..{block.col0 + block.cols - 1}"
        )

    def _check_shape(self) -> None:
        """Rectangles have as many windows as an activation, and the kernel fits the matrix."""
        if self.window_shape is None:
            return
        wy, wx = self.window_shape
        if wy < 1 or wx < 1 or wy * wx != self.windows_per_activation:
            raise MappingError(
                f"layer '{self.layer}': window_shape {self.window_shape}, expected (y, x) with "
                f"y * x = windows_per_activation = {self.windows_per_activation}"
            )
        k_y, k_x = self.window.kernel
        if self.group_rows % (k_y * k_x):
            raise MappingError(
                f"layer '{self.layer}': {self.group_rows} rows of a group are no multiple of the "
                f"kernel of {k_y} x {k_x} pixels"
            )

    def _lines(self, blocks: tuple[Block, ...]) -> Lines:
        if len(blocks) == 1:
            return self._lines_of_one(blocks[0])
        rows, cols = np.full(self.array_rows, -1), np.full(self.array_cols, -1)
        n_cols, elements = self.groups * self.group_cols, self.patch.elements
        for b in blocks:
            inputs = elements[b.window, b.group, b.src_row0 : b.src_row0 + b.rows]
            output = b.window * n_cols + b.group * self.group_cols + b.src_col0
            self._mean("word line", rows, b.row0, inputs, b)
            self._mean("column", cols, b.col0, output + np.arange(b.cols), b)
        driven, read = np.flatnonzero(rows >= 0), np.flatnonzero(cols >= 0)
        return Lines(driven, rows[driven], read, cols[read])

    def _lines_of_one(self, b: Block) -> Lines:
        """As `_lines`, of a block that has an array for itself: most arrays of large networks."""
        rows, cols = np.arange(b.row0, b.row0 + b.rows), np.arange(b.col0, b.col0 + b.cols)
        inputs = self.patch.elements[b.window, b.group, b.src_row0 : b.src_row0 + b.rows]
        first = (b.window * self.groups + b.group) * self.group_cols + b.src_col0
        return Lines(rows, inputs, cols, np.arange(first, first + b.cols))

    def _mean(self, what: str, lines: Ints, first: int, wanted: Ints, block: Block) -> None:
        """Give lines their meaning; blocks that lie on one of them must agree on it."""
        held = lines[first : first + len(wanted)]
        clash = np.flatnonzero((held >= 0) & (held != wanted))
        if clash.size:
            at = int(clash[0])
            both = [self._meaning(what, int(n)) for n in (wanted[at], held[at])]
            raise MappingError(
                f"{self._where(block)}: {what} {first + at} would carry {both[0]}, yet another "
                f"block has {both[1]} there; place these blocks apart"
            )
        held[:] = wanted

    def _meaning(self, what: str, number: int) -> str:
        if what == "word line":
            return self.patch.name(number)
        window, col = divmod(number, self.groups * self.group_cols)
        group, col = divmod(col, self.group_cols)
        return f"column {col} of group {group}, window {window}"

    def _check_inside(self) -> None:
        if not self.blocks:
            raise MappingError(f"layer '{self.layer}': no blocks, nothing is placed")
        for b in self.blocks:
            if b.rows < 1 or b.cols < 1 or b.row0 < 0 or b.col0 < 0 or b.array < 0:
                raise MappingError(f"{self._where(b)}: empty or negative rectangle")
            if b.row0 + b.rows > self.array_rows or b.col0 + b.cols > self.array_cols:
                raise MappingError(
                    f"{self._where(b)}: leaves the array of {self.array_rows} x {self.array_cols} "
                    "weights"
                )
            if not 0 <= b.window < self.windows_per_activation:
                raise MappingError(
                    f"{self._where(b)}: window {b.window}, "
                    f"expected 0..{self.windows_per_activation - 1}"
                )
            inside = (
                0 <= b.group < self.groups
                and 0 <= b.src_row0 <= self.group_rows - b.rows
                and 0 <= b.src_col0 <= self.group_cols - b.cols
            )
            if not inside:
                raise MappingError(
                    f"{self._where(b)}: takes rows {b.src_row0}..{b.src_row0 + b.rows - 1}, "
                    f"columns {b.src_col0}..{b.src_col0 + b.cols - 1} of group {b.group}; "
                    f"the layer has {self.groups} groups of {self.group_rows} x {self.group_cols}"
                )
        if any(not blocks for blocks in self.by_array):
            raise MappingError(f"layer '{self.layer}': local arrays are not numbered 0, 1, ...")

    def _check_overlap(self) -> None:
        for blocks in self.by_array:
            met = first_overlap(blocks, lambda b: (b.row0, b.col0, b.rows, b.cols))
            if met is not None:
                raise MappingError(f"{self._where(met[1])}: overlaps {self._where(met[0])}")

    def _check_cover(self) -> None:
        """Each element of each group once per window: areas add up and no two sources overlap."""
        sources: dict[tuple[int, int], list[Block]] = defaultdict(list)
        for block in self.blocks:
            sources[block.group, block.window].append(block)
        for group in range(self.groups):
            for window in range(self.windows_per_activation):
                blocks = sources[group, window]
                met = first_overlap(blocks, lambda b: (b.src_row0, b.src_col0, b.rows, b.cols))
                if met is not None:
                    raise MappingError(
                        f"{self._where(met[1])}: maps elements of group {group} that "
                        f"{self._where(met[0])} maps already"
                    )
                area = sum(b.rows * b.cols for b in blocks)
                if area != self.group_rows * self.group_cols:
                    row, col = _first_hole(blocks, self.group_cols)
                    raise MappingError(
                        f"layer '{self.layer}', group {group}, window {window}: "
                        f"{self.group_rows * self.group_cols - area} of "
                        f"{self.group_rows} x {self.group_cols} elements are placed nowhere, "
                        f"first the one in row {row}, column {col}"
                    )


def first_overlap(
    items: Iterable[T], rectangle: Callable[[T], tuple[int, int, int, int]]
) -> tuple[T, T] | None:
    """Return the first two items, from the top, whose rectangles share a cell.

    Parameters
    ----------
    items : iterable
    rectangle : callable
        Item -> (row0, col0, rows, cols).
    """
    placed = [(rectangle(item), item) for item in items]
    if not _meets([place for place, _ in placed]):
        return None
    ordered = sorted(placed, key=lambda pair: pair[0][0])
    for index, ((row, col, rows, cols), first) in enumerate(ordered):
        for (other_row, other_col, _, other_cols), second in ordered[index + 1 :]:
            if other_row >= row + rows:
                break
            if col < other_col + other_cols and other_col < col + cols:
                return first, second
    return None


def _meets(rectangles: list[tuple[int, int, int, int]]) -> bool:
    """Whether any two rectangles (row0, col0, rows, cols) share a cell, in O(n log n).

    A line goes down over them. Those that it cuts lie beside each other, sorted by column, so a new
    one can only meet its neighbours.
    """
    rectangles = [one for one in rectangles if one[2] > 0 and one[3] > 0]
    if len(rectangles) < 2:
        return False
    starts, ends = sorted(rectangles), sorted((row + n, col) for row, col, n, _ in rectangles)
    lefts: list[int] = []  # of those that the line cuts
    rights: dict[int, int] = {}
    gone = 0
    for row, col, _, cols in starts:
        while ends[gone][0] <= row:
            left = ends[gone][1]
            lefts.pop(bisect_left(lefts, left))
            del rights[left]
            gone += 1
        at = bisect_left(lefts, col)
        if at < len(lefts) and lefts[at] < col + cols:
            return True
        if at and rights[lefts[at - 1]] > col:
            return True
        lefts.insert(at, col)
        rights[col] = col + cols
    return False


def _first_hole(blocks: list[Block], cols: int) -> tuple[int, int]:
    """Row and column of the first element, row by row, that no block takes."""
    for row in sorted({0, *(b.src_row0 + b.rows for b in blocks)}):
        reached = 0
        across = [b for b in blocks if b.src_row0 <= row < b.src_row0 + b.rows]
        for b in sorted(across, key=lambda b: b.src_col0):
            if b.src_col0 > reached:
                break
            reached = max(reached, b.src_col0 + b.cols)
        if reached < cols:
            return row, reached
    raise ValueError("no element is missing")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one layer does for one frame, in closed form; adds up over layers.

    Attributes
    ----------
    windows : int
        MVMs in the words of the CIM-NET paper.
    activations : int
        Array activations.
    pulses : int
        Pulses summed over activations.
    conversions : int
        ADC conversions.
    dac_conversions : int
        Rows driven, summed over pulses.
    macs : int
        Multiply-accumulates of the network itself (zeros between groups not counted).
    weights : int
        Weights of the layer (bias not counted).
    cells : int
        Weight positions of the matrix as it is placed, with the zeros between groups: rows driven
        times columns read, summed over arrays.
    arrays : int
        Arrays of one replica.
    """

    windows: int = 0
    activations: int = 0
    pulses: int = 0
    conversions: int = 0
    dac_conversions: int = 0
    macs: int = 0
    weights: int = 0
    cells: int = 0
    arrays: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in Counts.__slots__))


def count(op: MatrixOp, layout: Layout, chip: Chip) -> Counts:
    """Count what ``op`` does for one frame on ``layout``."""
    groups = layout.activations(op.window_grid)
    activations, pulses = groups * layout.n_arrays, chip.pulses_for(op.signed)
    return Counts(
        windows=op.windows,
        activations=activations,
        pulses=activations * pulses,
        conversions=groups * sum(layout.cols_used) * chip.weights.slices * pulses,
        dac_conversions=groups * sum(layout.rows_used) * layout.lines_per_row * pulses,
        macs=op.windows * op.n_weights,
        weights=op.n_weights,
        cells=sum(r * c for r, c in zip(layout.rows_used, layout.cols_used, strict=True)),
        arrays=layout.n_arrays,
    )
