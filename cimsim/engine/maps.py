"""Maps between operations: input codes, padded, and output values, both channels-last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.encode import InputCode
from cimsim.engine.windows import padded_shape
from cimsim.graph.ir import MatrixOp
from cimsim.graph.layout import channels_last
from cimsim.kernels import floats, frame
from cimsim.kernels.arrays import Codes, empty

if TYPE_CHECKING:
    from torch import Tensor

_SMALL = 2**16  # values; waking another thread takes as long as encoding them

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
Needs = Callable[[Sequence[NDArray[np.generic]], NDArray[np.int64]], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class CodeMap:
    """The codes of an operation's input map, written part by part, by any threads.

    Attributes
    ----------
    op : MatrixOp
    code : InputCode
    padded : uint8, uint16 or uint32 [height, width * channels * lines]
        What lies around the map is the zero point.
    sums : list of (int, int)
        Of the codes of each part, and its values that lie beyond the codes' ends.
    """

    op: MatrixOp
    code: InputCode
    padded: Codes
    sums: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def empty(
        cls, op: MatrixOp, code: InputCode, shape: tuple[int, int, int] | None = None
    ) -> CodeMap:
        """Return a map whose inside is still to be written.

        ``shape`` is (height, width, channels) of one that is padded further at the bottom and
        right.
        """
        height, width, channels = shape or padded_shape(op)
        per_pixel = channels * code.lines
        padded = empty((height, width * per_pixel), code.dtype)
        # what lies inside is written once
        (rows, columns), (top, _, left, _) = op.input.grid, op.window.padding
        padded[:top] = padded[top + rows :] = code.zero_point
        padded[:, : left * per_pixel] = code.zero_point
        padded[:, (left + columns) * per_pixel :] = code.zero_point
        return cls(op, code, padded)

    def put(self, parts: Sequence[NDArray[np.float32]], row: int) -> None:
        """Encode whole rows of a map, or of the sum of two.

        Parameters
        ----------
        parts : sequence of float32 [n, pixels * channels]
            One or two.
        row : int
            Of the map, that of the first one.
        """
        if self.is_rounded_first:
            parts = [self._rounded(np.add(*parts) if len(parts) > 1 else parts[0])]
        other = parts[1] if len(parts) > 1 else parts[0][:0]
        self.sums.append(frame.encode_rows(parts[0], other, row, self.layout))

    def put_pixels(self, values: NDArray[np.float32], start: int) -> None:
        """Encode consecutive pixels, in raster order from pixel ``start`` on.

        Parameters
        ----------
        values : float32 [n, channels]
        start : int
        """
        self.sums.append(frame.encode_pixels(self._rounded(values), start, self.layout))

    def _rounded(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return rounded_first(self.op, self.code, values)

    @property
    def is_rounded_first(self) -> bool:
        """Whether torch rounds activations to a coarser code before they are encoded."""
        return _is_rounded_first(self.op, self.code)

    def rows_until(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows of the map there are up to some places of the padded one."""
        rows = places // self.padded.shape[1] - (self.op.window.padding[0] - 1)
        found: NDArray[np.int64] = np.minimum(np.maximum(rows, 0), self.op.input.grid[0])
        return found

    def step(
        self, maps: NDArray[np.float32] | Pair, threads: int, like: frame.Like, needs: Needs
    ) -> frame.Step | None:
        """Return the step that encodes a map or the sum of two; None where none does.

        Parameters
        ----------
        maps : float32 [1, C, H, W] or of the layer's own layout, or two of them
        threads : int
            How many come at most.
        like : frame.Like
            Of the steps beside it.
        needs : callable
            Takes maps and how many rows of them each block reads; returns ``needs`` of
            `frame.encoding_step`.
        """
        parts, planes = [channels_last(self.op, one)[0] for one in _pair_of(maps)], 0
        if not all(one.flags.c_contiguous for one in parts):
            planes, parts = parts[0].shape[2], [one.transpose(2, 0, 1) for one in parts]
        lies = all(one.flags.c_contiguous and one.dtype == np.float32 for one in parts)
        if not lies or self.is_rounded_first or not frame.takes(self.layout):
            return None
        shape = (-1, parts[0].shape[-1]) if planes else (len(parts[0]), -1)
        flat = [one.reshape(shape) for one in parts]
        other, rows = flat[1] if len(flat) > 1 else flat[0][:0], self.op.input.grid[0]
        number = min(4 * threads, max(1, flat[0].size // _SMALL), rows)
        ends = np.linspace(0, rows, number + 1).astype(np.int64)
        blocks = np.stack([ends[:-1], ends[1:]], axis=1)
        return frame.encoding_step(
            flat[0], other, planes, blocks, self.layout, threads, like,
            needs(_pair_of(maps), ends[1:]),
        )  # fmt: skip

    def add_counts(self, counts: NDArray[np.int64]) -> None:
        """Take sum and values beyond the ends of the codes of some part, int64 [2]."""
        total, beyond = counts.tolist()
        self.sums.append((total, beyond))

    @property
    def layout(self) -> frame.CodesOf:
        """The map as compiled code encodes into it."""
        op, code = self.op, self.code
        top, _, left, _ = op.window.padding
        channels, shift = padded_shape(op)[2], -1
        if code.signed != "offset":
            shift = code.magnitude_bits if code.signed == "phases" else 0
        return frame.CodesOf(
            self.padded, (top, left * channels * code.lines), op.input.grid[1], code.scale,
            code.zero_point, code.top, code.lines, shift,
        )  # fmt: skip

    @property
    def flat(self) -> Codes:
        """All codes, padding included."""
        return self.padded.reshape(-1)

    @property
    def total(self) -> int:
        """Sum of the codes inside."""
        return sum(total for total, _ in self.sums)

    @property
    def beyond(self) -> int:
        """Values that lie beyond the codes' ends, which stand for them."""
        return sum(beyond for _, beyond in self.sums)


def rounded_first(
    op: MatrixOp, code: InputCode, values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Round activations as a quantised network does, where the chip's code is a finer one."""
    if op.rounding is None or not _is_rounded_first(op, code):
        return values
    import torch

    rounded: NDArray[np.float32] = op.rounding(torch.from_numpy(values)).numpy()
    return rounded


def _is_rounded_first(op: MatrixOp, code: InputCode) -> bool:
    """Whether activations are rounded to a coarser code than the chip's before they are encoded."""
    signed = code.signed != "offset"
    return op.rounding is not None and op.rounding.goes_before(code.bits, signed)


def _pair_of(x: NDArray[np.float32] | Pair) -> tuple[NDArray[np.float32], ...]:
    return x if isinstance(x, tuple) else (x,)


def encode_input(
    op: MatrixOp,
    x: NDArray[np.float32] | Pair,
    code: InputCode,
    shape: tuple[int, int, int] | None = None,
    pool: Executor | None = None,
    threads: int = 1,
) -> CodeMap:
    """Encode a whole map, or the sum of two; see `CodeMap.empty`."""
    found = CodeMap.empty(op, code, shape)
    maps = [channels_last(op, one)[0] for one in _pair_of(x)]

    def put(rows: slice) -> None:
        n = rows.stop - rows.start
        found.put([np.ascontiguousarray(one[rows]).reshape(n, -1) for one in maps], rows.start)

    share(put, len(maps[0]), maps[0].size, pool, threads)
    return found


def share(
    work: Callable[[slice], None], rows: int, values: int, pool: Executor | None, threads: int
) -> None:
    """Do some work on the rows of a map, in parts on all threads if there are many values."""
    step = rows if pool is None or values < _SMALL else max(1, -(-rows // threads))
    parts = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    others = [pool.submit(work, part) for part in parts[1:]] if pool is not None else []
    work(parts[0])
    for other in others:
        other.result()


def add_maps(pair: Pair, pool: Executor, threads: int) -> NDArray[np.float32]:
    """Add two maps [1, C, H, W] that lie in memory alike."""
    one, two = pair
    total = np.empty_like(one)

    def add(rows: slice) -> None:
        np.add(one[:, :, rows], two[:, :, rows], out=total[:, :, rows])

    share(add, one.shape[2], one.size, pool, threads)
    return total


def empty_map(op: MatrixOp) -> NDArray[np.float32]:
    """Return where output values go, channels last.

    Returns
    -------
    float32 [windows, n_cols], or [height, width, channels] where vectors unfold into blocks
    """
    channels, block_h, block_w = op.out_block
    if op.layout == "last" or block_h == block_w == 1:
        return empty((op.windows, op.n_cols), np.float32)
    n_wy, n_wx = op.window_grid
    return empty((n_wy * block_h, n_wx * block_w, channels), np.float32)


def unfolded(op: MatrixOp, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring output vectors in raster order of the windows into the form of `empty_map`."""
    found = empty_map(op)
    if found.ndim == 2:
        return vectors
    floats.unfold(vectors, 0, (op.window_grid[1], *op.out_block[1:]), found)
    return found


def to_map(op: MatrixOp, y: NDArray[np.float32]) -> Tensor:
    """Return output values as a torch tensor whose memory is channels-last.

    The next layer collects its windows from channels-last memory without a copy.

    Parameters
    ----------
    op : MatrixOp
    y : float32
        Like `empty_map`.
    """
    import torch

    flat = torch.from_numpy(y)
    if op.layout == "last":
        return flat.reshape(op.output.shape)
    (n_wy, n_wx), (channels, block_h, block_w) = op.window_grid, op.out_block
    return flat.reshape(1, n_wy * block_h, n_wx * block_w, channels).permute(0, 3, 1, 2)
