"""Maps between operations: input codes, padded, and output values, both channels-last."""

from __future__ import annotations

from collections.abc import Callable
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
from cimsim.kernels.arrays import Codes

if TYPE_CHECKING:
    from torch import Tensor

_SMALL = 2**16  # values; waking another thread takes as long as encoding them

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


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
        padded = np.empty((height, width * per_pixel), code.dtype)
        # what lies inside is written once
        (rows, columns), (top, _, left, _) = op.input.grid, op.window.padding
        padded[:top] = padded[top + rows :] = code.zero_point
        padded[:, : left * per_pixel] = code.zero_point
        padded[:, (left + columns) * per_pixel :] = code.zero_point
        return cls(op, code, padded)

    def put(self, values: NDArray[np.float32], row: int, first: int = 0) -> None:
        """Encode whole rows, or a part of a row, float32 [n, pixels * channels].

        Parameters
        ----------
        values
        row : int
            Of the map, that of the first one.
        first : int
            Value of the row that the part begins with.
        """
        code, (top, _, left, _) = self.code, self.op.window.padding
        channels = padded_shape(self.op)[2]
        values = rounded_first(self.op, code, values)
        corner = top + row, (left * channels + first) * code.lines
        if code.signed == "offset":
            found = floats.encode_map(
                values, code.scale, code.zero_point, code.top, self.padded, corner
            )
        else:
            shift = code.magnitude_bits if code.signed == "phases" else 0
            found = floats.encode_signed(values, code.scale, code.top, shift, self.padded, corner)
        self.sums.append(found)

    def put_pixels(self, values: NDArray[np.float32], start: int) -> None:
        """Encode consecutive pixels, in raster order from pixel ``start`` on.

        Parameters
        ----------
        values : float32 [n, channels]
        start : int
        """
        n, channels = values.shape
        width = self.op.input.grid[1]
        row, column = divmod(start, width)
        head = min(n, width - column) if column else 0
        whole = (n - head) // width
        tail = head + whole * width
        if head:
            self.put(values[:head].reshape(1, -1), row, column * channels)
            row += 1
        if whole:
            self.put(values[head:tail].reshape(whole, -1), row)
        if tail < n:
            self.put(values[tail:].reshape(1, -1), row + whole)

    @property
    def compiled(self) -> frame.CodesOf | None:
        """The map as compiled code encodes into it; None where torch rounds, or codes are long."""
        op, code = self.op, self.code
        if _is_rounded_first(op, code) or self.padded.itemsize > 2:
            return None
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
    maps = [channels_last(op, one)[0] for one in (x if isinstance(x, tuple) else (x,))]
    one, other = maps[0], maps[-1]
    target = found.compiled

    def put(rows: slice) -> None:
        if target is None:
            part = np.add(*(part[rows] for part in maps)) if len(maps) > 1 else one[rows]
            found.put(np.ascontiguousarray(part).reshape(len(part), -1), rows.start)
            return
        first, second = (
            np.ascontiguousarray(part[rows]).reshape(rows.stop - rows.start, -1)
            for part in (one, other)
        )
        added = second if len(maps) > 1 else second[:0]
        found.sums.append(frame.encode_rows(first, added, rows.start, target))

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
        return np.empty((op.windows, op.n_cols), np.float32)
    n_wy, n_wx = op.window_grid
    return np.empty((n_wy * block_h, n_wx * block_w, channels), np.float32)


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
