"""Convolutions over one and three axes, and their transposes, as matrices over maps.

A series is a map of height 1. In a volume one plane is a map: the taps along the depth stand side
by side as channels, so each plane of the output is one application of the layer's matrix, and all
planes share its one copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from cimsim.errors import GraphError
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.locality import Call
from cimsim.frontends.matrices import (
    conv2d_op,
    conv_transpose2d_ops,
    transpose_axis,
)
from cimsim.graph.ir import Ref, TensorSpec

_aten = torch.ops.aten


@dataclass(frozen=True)
class Planes:
    """Take the taps along the depth of each output plane side by side as channels.

    Attributes
    ----------
    kernel, stride, dilation : int
        Along the depth.
    before, after : int
        Planes of zeros.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def __name__(self) -> str:
        return "planes"

    def __call__(self, x: Tensor) -> Tensor:
        """Turn [B, C, D, H, W] into [D_out * B, C * kernel, H, W]."""
        x = functional.pad(x, (0, 0, 0, 0, self.before, self.after))
        extent = (self.kernel - 1) * self.dilation + 1
        taps = x.unfold(2, extent, self.stride)[..., :: self.dilation]
        # [B, C, D_out, H, W, kernel]
        batch, channels, depth, height, width, kernel = taps.shape
        return taps.permute(2, 0, 1, 5, 3, 4).reshape(
            depth * batch, channels * kernel, height, width
        )


@dataclass(frozen=True)
class Volume:
    """Put planes together again.

    Attributes
    ----------
    depth : int
        Planes before blocks are unfolded.
    block : int
        Planes that one application writes.
    cut : int
        Planes to leave out at the front.
    size : int
        Planes of the result.
    """

    depth: int
    block: int
    cut: int
    size: int

    @property
    def __name__(self) -> str:
        return "volume"

    def __call__(self, y: Tensor) -> Tensor:
        """Turn [depth * B, C * block, H, W] into [B, C, size, H, W]."""
        planes, channels, height, width = y.shape
        batch, channels = planes // self.depth, channels // self.block
        y = y.reshape(self.depth, batch, channels, self.block, height, width)
        y = y.permute(1, 2, 0, 3, 4, 5).reshape(batch, channels, -1, height, width)
        missing = self.cut + self.size - y.shape[2]
        y = functional.pad(y, (0, 0, 0, 0, 0, max(missing, 0)))
        return y[:, :, self.cut : self.cut + self.size].contiguous()


def conv1d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv1d``: a convolution over a map of height 1."""
    n, raised = call.named, _raised(build, call, name, source)
    if raised is None:
        return None
    weight, bias, padding = n["weight"], n["bias"], n["padding"]
    op = conv2d_op(
        build.unique(name), raised.name, build.spec(raised), weight.unsqueeze(2), bias,
        stride=(1, _one(n["stride"])),
        padding=padding if isinstance(padding, str) else (0, _one(padding)),
        dilation=(1, _one(n["dilation"])), groups=n["groups"],
    )  # fmt: skip
    result = build.matrix(replace(op, source=source), weight, bias, ("conv1d", n["groups"]))
    return _lowered(build, call, name, source, result)


def conv_transpose1d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv_transpose1d``: a transposed convolution over a map of height 1."""
    n, raised = call.named, _raised(build, call, name, source)
    if raised is None:
        return None
    weight, bias = n["weight"], n["bias"]
    stride, dilation = (1, _one(n["stride"])), (1, _one(n["dilation"]))
    op, crop = conv_transpose2d_ops(
        build.unique(name), raised.name, build.spec(raised), weight.unsqueeze(2), bias,
        stride=stride, padding=(0, _one(n["padding"])),
        output_padding=(0, _one(n["output_padding"])), groups=n["groups"], dilation=dilation,
    )  # fmt: skip
    how = ("transposed1d", stride, dilation, n["groups"])
    result = build.matrix(replace(op, source=source), weight, bias, how)
    if crop is not None:
        result = build.add(replace(crop, name=build.unique(crop.name), source=source))
    return _lowered(build, call, name, source, result)


def conv3d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv3d``: one plane after another."""
    n = call.named
    x, weight, bias, padding = (n[k] for k in ("input", "weight", "bias", "padding"))
    if not constant(x, weight, bias):
        return None
    spec = _expect_volume(build, x, name)
    stride, dilation = three(n["stride"]), three(n["dilation"])
    kernel = tuple(weight.shape[2:])
    if isinstance(padding, str):
        totals = [(k - 1) * d if padding == "same" else 0
                  for k, d in zip(kernel, dilation, strict=True)]  # fmt: skip
        before, after = totals[0] // 2, totals[0] - totals[0] // 2
        flat: str | Sequence[int] = padding
    else:
        pads = three(padding)
        before = after = pads[0]
        flat = pads[1:]
    step = Planes(kernel[0], stride[0], dilation[0], before, after)
    planes = _planes(build, x, spec, step, name, source)
    # channels of a group stay together: each stands with its taps
    matrix = weight.reshape(weight.shape[0], -1, *kernel[1:])
    op = conv2d_op(
        build.unique(name), planes.name, build.spec(planes), matrix, bias, stride=stride[1:],
        padding=flat, dilation=dilation[1:], groups=n["groups"],
    )  # fmt: skip
    op = replace(op, source=source, kind="conv3d")
    result = build.matrix(op, weight, bias, ("conv3d", n["groups"]))
    depth = call.output.shape[2]
    return _volume(build, call, name, source, result, Volume(depth, 1, 0, depth))


def conv_transpose3d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv_transpose3d``: along the depth as `conv_transpose2d_ops` does along a map."""
    n = call.named
    x, weight, bias = n["input"], n["weight"], n["bias"]
    if not constant(x, weight, bias):
        return None
    spec = _expect_volume(build, x, name)
    stride, padding, dilation, extra = (
        three(n[k]) for k in ("stride", "padding", "dilation", "output_padding")
    )
    groups, kernel = n["groups"], tuple(weight.shape[2:])
    taps, before, after, cut, size = transpose_axis(
        spec.shape[2], kernel[0], stride[0], padding[0], dilation[0], extra[0]
    )
    planes = _planes(build, x, spec, Planes(taps, 1, 1, before, after), name, source)
    c_in, c_group = weight.shape[:2]
    # taps along the depth become channels, planes of a block become output channels
    along = weight.new_zeros(c_in, c_group, taps * stride[0], *kernel[1:])
    along[:, :, : (kernel[0] - 1) * dilation[0] + 1 : dilation[0]] = weight
    split = along.reshape(c_in, c_group, taps, stride[0], *kernel[1:]).flip(2)
    matrix = split.permute(0, 2, 1, 3, 4, 5).reshape(
        c_in * taps, c_group * stride[0], *kernel[1:]
    )  # fmt: skip
    vector = None if bias is None else bias.repeat_interleave(stride[0])
    op, crop = conv_transpose2d_ops(
        build.unique(name), planes.name, build.spec(planes), matrix, vector, stride=stride[1:],
        padding=padding[1:], output_padding=extra[1:], groups=groups, dilation=dilation[1:],
    )  # fmt: skip
    op = replace(op, source=source, kind="conv_transpose3d")
    how = ("transposed3d", stride, dilation, groups)
    result = build.matrix(op, weight, bias, how)
    if crop is not None:
        result = build.add(replace(crop, name=build.unique(crop.name), source=source))
    depth = build.spec(planes).shape[0] // spec.shape[0]
    return _volume(build, call, name, source, result, Volume(depth, stride[0], cut, size))


def constant(x: object, *tensors: object) -> bool:
    """Tell whether ``x`` is a graph value and all else is constant."""
    return isinstance(x, Ref) and all(t is None or isinstance(t, Tensor) for t in tensors)


def three(value: int | Sequence[int]) -> tuple[int, int, int]:
    """Return ``value`` as (depth, y, x)."""
    values = [value] if isinstance(value, int) else [int(v) for v in value]
    values = values * 3 if len(values) == 1 else values
    return values[0], values[1], values[2]


def _one(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else int(value[0])


def _raised(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """Return the series as a map of height 1; None where weights move."""
    n = call.named
    x = n["input"]
    if not constant(x, n["weight"], n["bias"]):
        return None
    if len(build.spec(x).shape) != 3:
        raise GraphError(
            f"{name}: a convolution over a series needs an input [B, C, L] with a batch axis, got "
            f"{list(build.spec(x).shape)}"
        )
    batch, channels, length = build.spec(x).shape
    wide = TensorSpec((batch, channels, 1, length), build.spec(x).dtype)
    raised = build.call(_aten.unsqueeze.default, (x, 2), {}, wide)
    return build.digital(f"{name}.map", raised, source)


def _lowered(build: GraphBuilder, call: Call, name: str, source: str, result: Ref) -> Ref:
    out = build.call(_aten.squeeze.dim, (result, 2), {}, call.output)
    return build.digital(f"{name}.series", out, source)


def _expect_volume(build: GraphBuilder, x: Ref, name: str) -> TensorSpec:
    spec = build.spec(x)
    if len(spec.shape) != 5:
        raise GraphError(
            f"{name}: a convolution over volumes needs an input [B, C, D, H, W] with a batch axis, "
            f"got {list(spec.shape)}"
        )
    return spec


def _planes(
    build: GraphBuilder, x: Ref, spec: TensorSpec, step: Planes, name: str, source: str
) -> Ref:
    batch, channels, depth, height, width = spec.shape
    extent = (step.kernel - 1) * step.dilation + 1
    out = (depth + step.before + step.after - extent) // step.stride + 1
    if out < 1:
        raise GraphError(
            f"{name} [{source}]: a kernel of {extent} planes on {depth}; give a longer input"
        )
    planes = TensorSpec((out * batch, channels * step.kernel, height, width), spec.dtype)
    return build.digital(f"{name}.planes", build.call(step, (x,), {}, planes), source)


def _volume(
    build: GraphBuilder, call: Call, name: str, source: str, result: Ref, step: Volume
) -> Ref:
    return build.digital(f"{name}.volume", build.call(step, (result,), {}, call.output), source)
