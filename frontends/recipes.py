"""The table of matrix operators: ATen calls with constant weights that become a `MatrixOp`.

A recipe adds its nodes to the builder and returns the last one, or None when the call is no
constant matrix (weights computed from activations, for instance): then it runs digitally.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cimsim.frontends import contractions, volumes
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.locality import Call
from cimsim.frontends.matrices import conv2d_op, conv_transpose2d_ops, linear_op
from cimsim.frontends.volumes import constant
from cimsim.graph.ir import Ref, TensorSpec

Recipe = Callable[[GraphBuilder, Call, str, str], Ref | None]

_aten = torch.ops.aten


def conv2d(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.conv2d(input, weight, bias, stride, padding, dilation, groups)``."""
    n = call.named
    x, weight, bias = n["input"], n["weight"], n["bias"]
    if not constant(x, weight, bias):
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
    if not constant(x, weight, bias):
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
    if not isinstance(weight, Tensor):
        return None
    kinds = {
        3: (volumes.conv1d, volumes.conv_transpose1d),
        4: (conv2d, conv_transpose2d),
        5: (volumes.conv3d, volumes.conv_transpose3d),
    }
    plain, transposed = kinds[weight.dim()]
    return (transposed if call.named["transposed"] else plain)(build, call, name, source)


def linear(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.linear(input, weight [out, in], bias)``."""
    x, weight, bias = call.named["input"], call.named["weight"], call.named["bias"]
    if not constant(x, weight, bias):
        return None
    if weight.is_complex():
        inside = build.call(_aten.matmul.default, (x, weight.t()), {}, call.output)
        product = contractions.matmul(build, inside, name, source)
        if product is None or bias is None:
            return product
        added = build.call(_aten.add.Tensor, (product, bias), {}, call.output)
        return build.digital(f"{name}.bias", added, source)
    return _linear(build, call, name, source, Affine(x, weight.t(), bias, "linear", weight, bias))


def product(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.mm`` and ``aten.matmul``: a constant matrix on the right is a linear layer."""
    x, weight = call.args[0], call.args[1]
    flat = constant(x, weight) and weight.dim() == 2 and len(build.spec(x).shape) > 1
    if flat and not weight.is_complex() and "complex" not in build.spec(x).dtype:
        return _linear(build, call, name, source, Affine(x, weight, None, "matmul", weight, None))
    return contractions.matmul(build, call, name, source)


def addmm(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.addmm(bias, input, matrix)``."""
    bias, x, weight = call.args
    if not constant(x, weight, bias) or bias.dim() != 1 or weight.is_complex():
        return contractions.baddbmm(build, call, name, source)
    alpha, beta = call.named["alpha"], call.named["beta"]
    vector = (bias * beta).expand(weight.shape[1])
    how = f"addmm {alpha} {beta}"
    layer = Affine(x, weight * alpha, vector, how, weight, bias)
    return _linear(build, call, name, source, layer)


RECIPES: dict[str, Recipe] = {
    "aten.conv2d": conv2d,
    "aten.convolution": convolution,
    "aten.conv_transpose2d": conv_transpose2d,
    "aten.conv_transpose3d": volumes.conv_transpose3d,
    "aten.conv1d": volumes.conv1d,
    "aten.conv3d": volumes.conv3d,
    "aten.conv_transpose1d": volumes.conv_transpose1d,
    "aten.linear": linear,
    "aten.mm": product,
    "aten._sparse_mm": product,
    "aten.matmul": product,
    "aten.bmm": contractions.matmul,
    "aten.mv": contractions.matmul,
    "aten.dot": contractions.matmul,
    "aten.einsum": contractions.einsum,
    "aten.inner": contractions.inner,
    "aten.tensordot": contractions.tensordot,
    "aten.bilinear": contractions.bilinear,
    "aten.addmm": addmm,
    "aten.addmv": contractions.baddbmm,
    "aten.baddbmm": contractions.baddbmm,
}
# Operators that are a matrix only now and then; a layer is not named after them.
SELDOM: dict[str, Recipe] = {"aten.sum": contractions.summed}


@dataclass(frozen=True, slots=True)
class Affine:
    """``x @ matrix + vector``.

    Attributes
    ----------
    x : Ref
    matrix : torch.Tensor [inputs, outputs]
    vector : torch.Tensor [outputs] or None
    how : str
        How both came of the network's own tensors.
    weight, bias : torch.Tensor
        Those tensors, by which layers are found that share cells.
    """

    x: Ref
    matrix: Tensor
    vector: Tensor | None
    how: str
    weight: Tensor
    bias: Tensor | None


def _linear(build: GraphBuilder, call: Call, name: str, source: str, layer: Affine) -> Ref:
    """Add a linear layer; positions that are not one axis behind the batch are brought there."""
    x, spec = layer.x, build.spec(layer.x)
    shape, batch = spec.shape, build.batch
    regular = len(shape) in (2, 3) and shape[0] == batch
    if not regular:
        positions = math.prod(shape[:-1])
        # what several samples share is applied once
        lead = batch if positions % batch == 0 else 1
        flat = TensorSpec((lead, positions // lead, shape[-1]), spec.dtype)
        flattened = build.call(_aten.reshape.default, (x, list(flat.shape)), {}, flat)
        x, spec = build.digital(f"{name}.flat", flattened, source), flat
    op = linear_op(build.unique(name), x.name, spec, layer.matrix, layer.vector)
    result = build.matrix(replace(op, source=source), layer.weight, layer.bias, (layer.how,))
    if regular:
        return result
    shaped = build.call(_aten.reshape.default, (result, list(call.output.shape)), {}, call.output)
    return build.digital(f"{name}.shape", shaped, source)
