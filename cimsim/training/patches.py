"""A layer's matrix and its input vectors, cut as the conventional mapping (im2col) cuts them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from cimsim.chip.spec import Chip
from cimsim.training.folding import Matrix

OVERLAP = 2  # windows that cover a pixel no more often are collected, not convolved
_GOLDEN = (math.sqrt(5) - 1) / 2

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MatrixShape:
    """Size of a matrix, its windows, and its pieces on arrays.

    Rows are in the order (k_y, k_x, channel), columns are those of all groups side by side.

    Attributes
    ----------
    groups, group_cols, group_rows : int
    kernel, stride, dilation : (int, int)
    padding : (int, int, int, int) or None
        Left, right, top, bottom; None for a linear layer.
    tiles : tuple of slice
        Rows (of every group) of each row tile.
    blocks : tuple of slice
        Columns of each array of one row tile.
    sharing : int
        Groups that lie in one array.
    """

    groups: int
    group_cols: int
    group_rows: int
    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[int, int, int, int] | None
    tiles: tuple[slice, ...]
    blocks: tuple[slice, ...]
    sharing: int

    @classmethod
    def of(cls, matrix: Matrix, chip: Chip) -> MatrixShape:
        """Cut a convolution or linear layer for the arrays of a chip."""
        conv = matrix if isinstance(matrix, nn.Conv2d) else None
        groups = conv.groups if conv else 1
        cols, rows = len(matrix.weight) // groups, matrix.weight[0].numel()
        n_rows, n_cols = chip.array.rows, chip.weight_cols
        sharing = min(n_rows // rows, n_cols // cols)
        if sharing:
            width = sharing * cols
            blocks = [
                slice(s, min(s + width, groups * cols)) for s in range(0, groups * cols, width)
            ]
        else:
            blocks = [
                slice(group * cols + s, group * cols + min(s + n_cols, cols))
                for group in range(groups)
                for s in range(0, cols, n_cols)
            ]
        return cls(
            groups, cols, rows, *_window(conv),
            tuple(slice(s, min(s + n_rows, rows)) for s in range(0, rows, n_rows)),
            tuple(blocks), max(1, min(sharing, groups)),
        )  # fmt: skip

    @property
    def n_cols(self) -> int:
        """Columns of all groups."""
        return self.groups * self.group_cols

    @property
    def collects(self) -> bool:
        """Whether input vectors are collected and multiplied, rather than convolved.

        They must be when a partial sum is converted on its way. Otherwise it is the faster of two
        ways with the same result: 10 -> 2048 channels, kernel 10, stride 8: 2.4 times.
        """
        if self.padding is None or len(self.tiles) > 1:
            return True
        return math.prod(self.kernel) <= OVERLAP * math.prod(self.stride)

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a layer's weight as [groups, cols, rows]."""
        if self.padding is not None:
            weight = weight.permute(0, 2, 3, 1)
        return weight.reshape(self.groups, self.group_cols, self.group_rows)

    def vectors(self, x: Tensor) -> Tensor:
        """Return the input vectors [..., groups, rows] of all windows of a layer's input."""
        if self.padding is None:
            return x[..., None, :]
        return _Windows.apply(self._padded(x), self)  # type: ignore[no-any-return]

    def sampled(self, x: Tensor, wanted: int) -> Tensor:
        """Return up to ``wanted`` input vectors [n, groups, rows], evenly spread over windows."""
        if self.padding is None:
            view = x.reshape(1, 1, -1, 1, 1, 1, self.group_rows)
        else:
            view = window_view(self._padded(x).contiguous(), self)
        batch, n_y, n_x = view.shape[:3]
        total = batch * n_y * n_x
        chosen = torch.arange(total)
        if total > wanted:
            # a golden-ratio sequence does not fall in step with image rows
            places = torch.arange(1, wanted + 1, dtype=torch.float64) * _GOLDEN % 1
            chosen = (places * total).long().unique()
        chosen = chosen.to(x.device)
        rest = chosen % (n_y * n_x)
        picked = view[chosen // (n_y * n_x), rest // n_x, rest % n_x]
        return picked.reshape(len(chosen), self.groups, self.group_rows)

    def convolved(self, x: Tensor, matrix: Tensor) -> Tensor:
        """Multiply all windows of a map with a matrix [groups * cols, rows] of any columns.

        Returns
        -------
        Tensor [B, n_y, n_x, groups * cols]
        """
        left, right, top, bottom = self.padding or (0, 0, 0, 0)
        padding = (top, left)
        if (left, top) != (right, bottom):
            x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
        weight = matrix.reshape(len(matrix), *self.kernel, -1).permute(0, 3, 1, 2)
        y = functional.conv2d(x, weight, None, self.stride, padding, self.dilation, self.groups)
        return y.permute(0, 2, 3, 1).float()

    def by_tile(self, x: Tensor) -> tuple[Tensor, ...]:
        """Cut the rows, the last axis, into the row tiles."""
        return x.split([tile.stop - tile.start for tile in self.tiles], -1)

    def multiplied(self, rows: Tensor, matrix: Tensor) -> Tensor:
        """Multiply [..., groups, r] with [groups, cols, r] to [..., groups * cols]."""
        pairs = zip(rows.unbind(-2), matrix.unbind(0), strict=True)
        parts = [functional.linear(x, weight) for x, weight in pairs]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).float()

    def output(self, y: Tensor) -> Tensor:
        """Return [..., n_cols] as the layer lays its output out."""
        return y if self.padding is None else y.permute(0, 3, 1, 2)

    def _padded(self, x: Tensor) -> Tensor:
        """Return the padded map, channels last [B, H, W, C]."""
        x = x.permute(0, 2, 3, 1)
        left, right, top, bottom = self.padding or (0, 0, 0, 0)
        return functional.pad(x, (0, 0, left, right, top, bottom))


def _window(conv: nn.Conv2d | None) -> tuple[Pair, Pair, Pair, tuple[int, int, int, int] | None]:
    """Return kernel, stride, dilation and padding."""
    if conv is None:
        return (1, 1), (1, 1), (1, 1), None
    (k_y, k_x), (d_y, d_x), padding = conv.kernel_size, conv.dilation, conv.padding
    if padding == "valid":
        padding = (0, 0)
    if isinstance(padding, str):
        # "same": what is odd goes to the right and bottom end, as torch has it
        y, x = d_y * (k_y - 1), d_x * (k_x - 1)
        ends = (x // 2, x - x // 2, y // 2, y - y // 2)
    else:
        ends = (padding[1], padding[1], padding[0], padding[0])
    return (k_y, k_x), (conv.stride[0], conv.stride[1]), (d_y, d_x), ends


def window_view(x: Tensor, shape: MatrixShape) -> Tensor:
    """Look at a padded map as windows, without a copy.

    Parameters
    ----------
    x : Tensor [B, H, W, C], contiguous

    Returns
    -------
    Tensor [B, n_y, n_x, groups, k_y, k_x, C / groups]
    """
    batch, height, width, channels = x.shape
    (k_y, k_x), (s_y, s_x), (d_y, d_x) = shape.kernel, shape.stride, shape.dilation
    n_y = (height - d_y * (k_y - 1) - 1) // s_y + 1
    n_x = (width - d_x * (k_x - 1) - 1) // s_x + 1
    row, per_group = width * channels, channels // shape.groups
    return x.as_strided(
        (batch, n_y, n_x, shape.groups, k_y, k_x, per_group),
        (height * row, s_y * row, s_x * channels, per_group, d_y * row, d_x * channels, 1),
        x.storage_offset(),
    )


class _Shapes(Protocol):
    """What autograd hands from the forward pass to the backward pass."""

    map: torch.Size
    view: torch.Size
    shape: MatrixShape


class _Windows(torch.autograd.Function):
    """Collect windows [B, n_y, n_x, groups, rows]; the gradient adds up where they overlap."""

    @staticmethod
    def forward(ctx: _Shapes, x: Tensor, shape: MatrixShape) -> Tensor:
        view = window_view(x.contiguous(), shape)
        ctx.map, ctx.view, ctx.shape = x.shape, view.shape, shape
        return view.reshape(*view.shape[:4], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: _Shapes, grad: Tensor) -> tuple[Tensor | None, ...]:
        batch, height, width, _ = ctx.map
        _, n_y, n_x, groups, k_y, k_x, per_group = ctx.view
        (s_y, s_x), (d_y, d_x) = ctx.shape.stride, ctx.shape.dilation
        grad = grad.reshape(ctx.view)
        out = grad.new_zeros(batch, height, width, groups, per_group)
        for y in range(k_y):
            rows = slice(y * d_y, y * d_y + s_y * (n_y - 1) + 1, s_y)
            for x in range(k_x):
                cols = slice(x * d_x, x * d_x + s_x * (n_x - 1) + 1, s_x)
                out[:, rows, cols] += grad[:, :, :, :, y, x]
        return out.reshape(ctx.map), None
