"""The table of matrix operators: ATen calls with constant weights that become a `MatrixOp`.

A recipe adds its nodes to the builder and returns the last one, or None when the call is no
constant matrix (weights computed from activations, for instance): then it runs digitally.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cimsim.errors import GraphError
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.locality import Call
from cimsim.frontends.matrices import conv2d_op, conv_transpose2d_ops, linear_op
from cimsim.graph.ir import Ref, TensorSpec

Recipe = Callable[[GraphBuilder, Call, str, str], Ref | None]

_aten = torch.ops.aten


def conv2d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv2d(input, weight, bias, stride, padding, dilation, groups)``."""
    n = call.named
    x, weight, bias = n["input"], n["weight"], n["bias"]
    if not _constant(x, weight, bias):
        return None
    op = conv2d_op(
        build.unique(name),
        x.name,
        build.spec(x),
        weight,
        bias,
        stride=n["stride"],
        padding=n["padding"],
        dilation=n["dilation"],
        groups=n["groups"],
    )
    return build.matrix(replace(op, source=source), weight, bias, ("conv",))


def conv_transpose2d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv_transpose2d``: a matrix and, where it pads, a crop."""
    n = call.named
    x, weight, bias = n["input"], n["weight"], n["bias"]
    if not _constant(x, weight, bias):
        return None
    op, crop = conv_transpose2d_ops(
        build.unique(name),
        x.name,
        build.spec(x),
        weight,
        bias,
        stride=n["stride"],
        padding=n["padding"],
        output_padding=n["output_padding"],
        groups=n["groups"],
        dilation=n["dilation"],
    )
    how = ("transposed", tuple(n["stride"]), tuple(n["dilation"]), n["groups"])
    result = build.matrix(replace(op, source=source), weight, bias, how)
    if crop is None:
        return result
    return build.add(replace(crop, name=build.unique(crop.name), source=source))


def convolution(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.convolution``, the form that lower-level exports hold."""
    weight = call.named["weight"]
    if not isinstance(weight, Tensor) or weight.dim() != 4:
        return None
    if call.named["transposed"]:
        return conv_transpose2d(build, call, name, source)
    return conv2d(build, call, name, source)


def conv1d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv1d``: a convolution over a map of height 1."""
    x, weight = call.named["input"], call.named["weight"]
    if not _constant(x, weight, call.named["bias"]) or len(build.spec(x).shape) != 3:
        return None
    batch, channels, length = build.spec(x).shape
    dtype = build.spec(x).dtype
    wide = TensorSpec((batch, channels, 1, length), dtype)
    raised = build.digital(
        f"{name}.map", build.call(_aten.unsqueeze.default, (x, 2), {}, wide), source
    )
    padding, stride, dilation = (call.named[k] for k in ("padding", "stride", "dilation"))
    op = conv2d_op(
        build.unique(name),
        raised.name,
        wide,
        weight.unsqueeze(2),
        call.named["bias"],
        stride=(1, stride[0]),
        padding=padding if isinstance(padding, str) else (0, padding[0]),
        dilation=(1, dilation[0]),
        groups=call.named["groups"],
    )
    result = build.matrix(replace(op, source=source), weight, call.named["bias"], ("conv1d",))
    out = build.call(_aten.squeeze.dim, (result, 2), {}, call.output)
    return build.digital(f"{name}.series", out, source)


def linear(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.linear(input, weight [out, in], bias)``."""
    x, weight, bias = call.named["input"], call.named["weight"], call.named["bias"]
    if not _constant(x, weight, bias):
        return None
    return _linear(build, call, name, source, x, weight.t(), weight, bias, "linear")


def matmul(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.mm`` and ``aten.matmul`` with a constant matrix on the right."""
    x, weight = call.args[0], call.args[1]
    if not _constant(x, weight) or weight.dim() != 2:
        return None
    return _linear(build, call, name, source, x, weight, weight, None, "matmul")


def addmm(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.addmm(bias, input, matrix)``."""
    bias, x, weight = call.args
    if not _constant(x, weight, bias) or bias.dim() != 1:
        return None
    alpha, beta = call.named["alpha"], call.named["beta"]
    vector = (bias * beta).expand(weight.shape[1])
    how = f"addmm {alpha} {beta}"
    return _linear(build, call, name, source, x, weight * alpha, weight, vector, how, bias)


RECIPES: dict[str, Recipe] = {
    "aten.conv2d": conv2d,
    "aten.convolution": convolution,
    "aten.conv_transpose2d": conv_transpose2d,
    "aten.conv1d": conv1d,
    "aten.linear": linear,
    "aten.mm": matmul,
    "aten.matmul": matmul,
    "aten.addmm": addmm,
}


def _linear(
    build: GraphBuilder,
    call: Call,
    name: str,
    source: str,
    x: Ref,
    matrix: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    how: str,
    bias_key: Tensor | None = None,
) -> Ref:
    """Add a linear layer; positions that are not one axis behind the batch are brought there."""
    spec = build.spec(x)
    shape, batch = spec.shape, build.batch
    regular = len(shape) in (2, 3) and shape[0] == batch
    if not regular:
        if batch != 1:
            raise GraphError(
                f"{name} [{source}]: a linear layer reads {list(shape)}, expected [{batch}, ..., "
                "features]; give the input a batch axis, or trace with one frame"
            )
        flat = TensorSpec((1, spec.per_frame * shape[0] // shape[-1], shape[-1]), spec.dtype)
        flattened = build.call(_aten.reshape.default, (x, list(flat.shape)), {}, flat)
        x, spec = build.digital(f"{name}.flat", flattened, source), flat
    op = linear_op(build.unique(name), x.name, spec, matrix, bias)
    key = bias if bias_key is None else bias_key
    result = build.matrix(replace(op, source=source), weight, key, (how,))
    if regular:
        return result
    shaped = build.call(_aten.reshape.default, (result, list(call.output.shape)), {}, call.output)
    return build.digital(f"{name}.shape", shaped, source)


def _constant(x: Any, *tensors: Any) -> bool:
    """Tell whether ``x`` is a graph value and all else is constant."""
    return isinstance(x, Ref) and all(t is None or isinstance(t, Tensor) for t in tensors)
