"""Roundings of activations that a network has of its own, and what a chip makes of them.

A network that was quantised says with which scale and zero point each activation becomes a whole
number. `rounded` is that rounding there and back, as one operator. Where only matrices read its
result the chip's own input code does it, with the ends that the network says: see `fold_roundings`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

# registers the operators of quantised torch programs (PT2E), which files hold
import torch.ao.quantization.fx._decomposed
from numpy.typing import NDArray
from torch import Tensor

from cimsim.graph.ir import DigitalOp, LayerGraph, MatrixOp, Op, Ref, Rounding, rewire

_DOWN = "quantized_decomposed.quantize_per_tensor"
_UP = "quantized_decomposed.dequantize_per_tensor"
_OWN = "cimsim.rounded"
# both at once, as networks that were trained for it have
_FAKE = "aten.fake_quantize_per_tensor_affine"
_OF_CHANNELS = (
    "quantized_decomposed.dequantize_per_channel", "aten.fake_quantize_per_channel_affine",
)  # fmt: skip
# what only moves values rounds them no differently before and after
_MOVES = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose",
    "slice", "select", "pixel_shuffle", "pixel_unshuffle", "planes",
}  # fmt: skip


@torch.library.custom_op("cimsim::rounded", mutates_args=())
def rounded(
    x: Tensor, scale: float, zero_point: int, low: int, high: int, by_reciprocal: bool
) -> Tensor:
    """Return ``(clamp(round(x / scale) + zero_point, low, high) - zero_point) * scale``.

    ``by_reciprocal`` multiplies by ``1 / scale`` instead, as torch does; ONNX divides.
    """
    return Rounding(scale, zero_point, low, high, by_reciprocal)(x)


@rounded.register_fake
def _(x: Tensor, scale: float, zero_point: int, low: int, high: int, by_reciprocal: bool) -> Tensor:
    return torch.empty_like(x)


def join_roundings(graph: LayerGraph) -> LayerGraph:
    """Make one rounding of the two operators, there and back, that torch programs have.

    ``fake_quantize`` adds the zero point before it rounds: only values just between two codes could
    tell the difference.
    """
    ops: list[Op] = []
    for op in graph:
        found = _there_and_back(graph, op)
        ops.append(op if found is None else found)
    return graph.with_ops(ops)


def fold_roundings(graph: LayerGraph) -> LayerGraph:
    """Give the matrices that read a rounded activation its rounding.

    Between them there may be operators that only move values. The operator itself goes if nothing
    but matrices reads it.
    """
    changed: dict[str, Op] = {}
    names: dict[str, str] = {}
    for op in graph.digital_ops:
        how = _rounding(op)
        if how is None:
            continue
        matrices, others = _readers(graph, op.name)
        for name in matrices:
            matrix = changed.get(name, graph[name])
            assert isinstance(matrix, MatrixOp)
            changed[name] = replace(matrix, rounding=how)
        if matrices and not others:
            names[op.name] = op.inputs[0]
    final: dict[str, str] = {}
    for old, new in names.items():
        final[old] = final.get(new, new)
    ops = (rewire(changed.get(op.name, op), final) for op in graph if op.name not in final)
    return graph.with_ops(ops)


def weight_ends(
    name: str, args: tuple[Tensor | float, ...]
) -> tuple[NDArray[np.float64], int] | None:
    """Return the largest magnitudes of weight codes and their axis, of a call that reads them.

    Parameters
    ----------
    name : str
        Of the operator.
    args : tuple
        Codes, scale, zero point, then the axis where there are several scales, and the ends.
    """
    several = name in _OF_CHANNELS
    if not several and name not in (_UP, _FAKE):
        return None
    scale, zero = (np.asarray(_plain(value), dtype=np.float64) for value in args[1:3])
    low, high = (float(n) for n in args[3 + several : 5 + several])
    above, below = high - zero, zero - low
    # signed kinds have one code more below 0 than above
    reach = np.where(below - above == 1, above, np.maximum(above, below))
    return (scale * reach).reshape(-1), int(args[3]) if several else 0


def _plain(value: object) -> object:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _readers(graph: LayerGraph, name: str) -> tuple[list[str], bool]:
    """Return the matrices behind a value, and whether anything else reads it."""
    matrices: list[str] = []
    others = name in graph.outputs
    for reader in graph.consumers(name):
        op = graph[reader]
        if isinstance(op, MatrixOp):
            matrices.append(reader)
        elif isinstance(op, DigitalOp) and op.op in _MOVES and len(op.inputs) == 1:
            found, more = _readers(graph, reader)
            matrices += found
            others |= more
        else:
            others = True
    return matrices, others


def _rounding(op: DigitalOp) -> Rounding | None:
    if _name(op) != _OWN:
        return None
    scale, zero_point, low, high, *by_reciprocal = op.args[1:]
    assert isinstance(scale, int | float)
    assert isinstance(zero_point, int)
    assert isinstance(low, int)
    assert isinstance(high, int)
    return Rounding(scale, zero_point, low, high, bool(*by_reciprocal))


def _there_and_back(graph: LayerGraph, op: Op) -> DigitalOp | None:
    if not isinstance(op, DigitalOp) or not op.args or not isinstance(op.args[0], Ref):
        return None
    before: Op = op
    if _name(op) == _UP:
        before = graph[op.args[0].name]
    elif _name(op) != _FAKE:
        return None
    if not isinstance(before, DigitalOp) or _name(before) not in (_DOWN, _FAKE):
        return None
    numbers = tuple(_number(value) for value in op.args[1:5])
    if numbers != tuple(_number(value) for value in before.args[1:5]):
        return None
    given = [value for value in numbers if isinstance(value, int | float)]
    if len(given) != 4:
        return None
    scale, zero_point, low, high = given
    return replace(
        op, inputs=before.inputs, op="rounded", target=torch.ops.cimsim.rounded.default,
        args=(before.args[0], float(scale), int(zero_point), int(low), int(high), True),
        kwargs={}, locality="pointwise", ops_per_element=COST,
    )  # fmt: skip


# multiply, round, add, two comparisons, subtract, multiply
COST = 7.0


def _name(op: DigitalOp) -> str:
    return str(getattr(op.target, "_overloadpacket", op.target))


def _number(value: object) -> object:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
