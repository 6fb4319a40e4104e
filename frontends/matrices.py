"""Torch weights turned into `MatrixOp`: convolution, transposed convolution and linear layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.errors import GraphError
from cimsim.graph.ir import DigitalOp, MatrixOp, Ref, TensorSpec, Window
from cimsim.graph.layout import output_shape

Array = NDArray[np.float32]
Pair = tuple[int, int]


def conv2d_op(
    name: str,
    source: str,
    spec: TensorSpec,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> MatrixOp:
    """Return ``torch.nn.functional.conv2d`` as a matrix.

    Parameters
    ----------
    name, source : str
        Of the new node, and of the node that it reads.
    spec : TensorSpec [B, C_in, H, W]
        What ``source`` yields.
    weight : torch.Tensor float32 [C_out, C_in / groups, k_y, k_x]
    bias : torch.Tensor float32 [C_out], optional
    stride, padding, dilation, groups
        As torch takes them; ``padding`` may be ``"same"`` or ``"valid"``.
    """
    _expect_map(name, spec)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    dilation = _pair(dilation)
    window = Window(kernel, _pair(stride), _padding(padding, kernel, dilation), dilation)
    op = MatrixOp(
        name=name,
        inputs=(source,),
        input=spec,
        output=spec,
        weight=conv_matrix(weight, groups),
        bias=_vector(bias),
        window=window,
        out_block=(int(weight.shape[0]), 1, 1),
        kind="conv2d",
        weights_id=name,
    )
    return _with_output(op)


def conv_matrix(weight: Tensor, groups: int) -> Array:
    """Return [groups, k_y * k_x * C_in / groups, C_out / groups] of a convolution's weight."""
    array = _array(weight)
    c_out, c_group, k_y, k_x = array.shape
    if is_blank(array):
        return blank((groups, k_y * k_x * c_group, c_out // groups))
    grouped = array.reshape(groups, c_out // groups, c_group, k_y, k_x).transpose(0, 3, 4, 2, 1)
    return np.array(grouped.reshape(groups, k_y * k_x * c_group, c_out // groups), order="C")


def is_blank(array: Array) -> bool:
    """Whether a weight is one number in all places that takes no memory: only its shape matters."""
    return array.size > 1 and not any(array.strides) and not array.any()


def blank(shape: tuple[int, ...]) -> Array:
    """Return a weight of zeros that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def conv_transpose2d_ops(
    name: str,
    source: str,
    spec: TensorSpec,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> tuple[MatrixOp, DigitalOp | None]:
    """Return ``torch.nn.functional.conv_transpose2d`` as a matrix and, where needed, a crop.

    Before its padding ``p`` is cut away, the output at ``s * q + r`` (``s`` the stride, 0 <= r < s)
    is ``sum_t x[q - t] w[s * t + r]`` over ``t < T = ceil(K / s)``, ``K`` the dilated kernel: an
    ordinary convolution of stride 1 and kernel ``T`` over the flipped ``t``, each window of which
    yields a block of ``s_y x s_x`` pixels. Where ``K`` is no multiple of ``s``, or the kernel is
    dilated, the matrix holds structural zeros; they are real cells with weight 0 and count as such.
    Blocks that ``p`` cuts away completely are never computed; what is left over is cropped by the
    second node.

    Parameters
    ----------
    name, source : str
        Of the new node, and of the node that it reads.
    spec : TensorSpec [B, C_in, H, W]
    weight : torch.Tensor float32 [C_in, C_out / groups, k_y, k_x]
    bias : torch.Tensor float32 [C_out], optional
    stride, padding, output_padding, groups, dilation
        As torch takes them.
    """
    _expect_map(name, spec)
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    extra = _pair(output_padding)
    c_out = int(weight.shape[1]) * groups
    axes = [
        transpose_axis(n, int(k), s, p, d, e)
        for n, k, s, p, d, e in zip(
            spec.grid, weight.shape[2:], stride, padding, dilation, extra, strict=True
        )
    ]
    (t_y, top, bottom, cut_y, out_y), (t_x, left, right, cut_x, out_x) = axes
    op = MatrixOp(
        name=name,
        inputs=(source,),
        input=spec,
        output=spec,
        weight=conv_transpose_matrix(weight, stride, dilation, groups),
        bias=None if bias is None else np.repeat(_array(bias), stride[0] * stride[1]),
        window=Window((t_y, t_x), (1, 1), (top, bottom, left, right)),
        out_block=(c_out, *stride),
        kind="conv_transpose2d",
        weights_id=name,
    )
    op = _with_output(op)
    if op.output.grid == (out_y, out_x):
        return op, None
    return op, _crop(op, cut_y, cut_x, out_y, out_x)


def conv_transpose_matrix(weight: Tensor, stride: Pair, dilation: Pair, groups: int) -> Array:
    """Return [groups, T_y * T_x * C_in / groups, (C_out / groups) * s_y * s_x]; see above."""
    array = _array(weight)
    c_in, c_out, k_y, k_x = array.shape
    taps = [
        -(-((k - 1) * d + 1) // s) for k, d, s in zip((k_y, k_x), dilation, stride, strict=True)
    ]
    t_y, t_x = taps
    full = np.zeros((c_in, c_out, t_y * stride[0], t_x * stride[1]), np.float32)
    d_y, d_x = dilation
    full[:, :, : (k_y - 1) * d_y + 1 : d_y, : (k_x - 1) * d_x + 1 : d_x] = array
    split = full.reshape(groups, c_in // groups, c_out, t_y, stride[0], t_x, stride[1])
    flipped = split[:, :, :, ::-1, :, ::-1]
    # to (group, tap y, tap x, C_in | C_out, dy, dx)
    ordered = flipped.transpose(0, 3, 5, 1, 2, 4, 6)
    cols = c_out * stride[0] * stride[1]
    return np.array(ordered.reshape(groups, t_y * t_x * c_in // groups, cols), order="C")


def linear_op(
    name: str, source: str, spec: TensorSpec, matrix: Tensor, bias: Tensor | None = None
) -> MatrixOp:
    """Return ``x @ matrix + bias`` on the last axis.

    Parameters
    ----------
    name, source : str
    spec : TensorSpec [B, F] or [B, positions, F]
    matrix : torch.Tensor float32 [F, cols]
        The transposed ``weight`` of a `torch.nn.Linear`.
    bias : torch.Tensor float32 [cols], optional
    """
    if len(spec.shape) not in (2, 3):
        raise GraphError(
            f"{name}: a linear layer needs [B, F] or [B, N, F], got {list(spec.shape)}"
        )
    weight = _copied(_array(matrix)[None])
    op = MatrixOp(
        name=name,
        inputs=(source,),
        input=spec,
        output=spec,
        weight=weight,
        bias=_vector(bias),
        window=Window(),
        out_block=(int(weight.shape[2]), 1, 1),
        layout="last",
        kind="linear",
        weights_id=name,
    )
    return _with_output(op)


def _with_output(op: MatrixOp) -> MatrixOp:
    return replace(op, output=TensorSpec(output_shape(op), op.input.dtype))


def transpose_axis(
    size: int, kernel: int, stride: int, padding: int, dilation: int, extra: int
) -> tuple[int, int, int, int, int]:
    """Return taps, padding before and after, pixels to cut before and output size of one axis."""
    extent = (kernel - 1) * dilation + 1
    taps = -(-extent // stride)
    out = (size - 1) * stride - 2 * padding + extent + extra
    skipped = min(padding // stride, taps - 1)
    before = taps - 1 - skipped
    windows = -(-(padding + out) // stride) - skipped
    after = max(windows - 1 + taps - size - before, 0)
    return taps, before, after, padding - skipped * stride, out


def _crop(op: MatrixOp, cut_y: int, cut_x: int, out_y: int, out_x: int) -> DigitalOp:
    height, width = op.output.grid
    batch, channels = op.output.shape[:2]
    pads = [-cut_x, out_x + cut_x - width, -cut_y, out_y + cut_y - height]
    return DigitalOp(
        name=f"{op.name}.crop",
        inputs=(op.name,),
        output=TensorSpec((batch, channels, out_y, out_x), op.output.dtype),
        op="crop",
        target=torch.ops.aten.constant_pad_nd.default,
        args=(Ref(op.name), pads, 0.0),
        locality="window",
        ops_per_element=0.0,
        window=Window((cut_y + 1, cut_x + 1)),
    )


def _padding(
    padding: int | str | Sequence[int], kernel: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0, 0, 0
        # torch's "same": the odd pixel goes to the bottom and right
        total_y, total_x = ((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
        return total_y // 2, total_y - total_y // 2, total_x // 2, total_x - total_x // 2
    y, x = _pair(padding)
    return y, y, x, x


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    values = [int(v) for v in value]
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _expect_map(name: str, spec: TensorSpec) -> None:
    if len(spec.shape) != 4 or math.prod(spec.shape) == 0:
        raise GraphError(
            f"{name}: a convolution needs an input [B, C, H, W] with a batch axis, "
            f"got {list(spec.shape)}"
        )


def _array(tensor: Tensor) -> Array:
    if tensor.dtype is torch.bfloat16:
        # other kinds are refused with the whole graph, this one numpy does not have
        raise GraphError(
            "a weight is bfloat16, expected float32 (convert the module with .float(); leave out "
            "torch.autocast, inside of which layers compute in it)"
        )
    array: Array = tensor.detach().cpu().numpy()
    return array


def _copied(array: Array) -> Array:
    """Copy in C order; what is one number everywhere, as where only shapes are known, stays one."""
    if array.size and not any(array.strides):
        return np.broadcast_to(array.flat[0].copy(), array.shape)
    return np.array(array, order="C")


def _vector(bias: Tensor | None) -> Array | None:
    return None if bias is None else _array(bias).copy()
