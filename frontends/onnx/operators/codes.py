"""Quantised networks: the two nodes around each layer, and operators on whole numbers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cimsim.frontends.onnx.codes import (
    ENDS,
    rounding,
    same,
    there_and_back,
    to_codes,
    to_reals,
    weight,
)
from cimsim.frontends.onnx.operators.matrices import convolution
from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome, Quantised, Value


def _ends(node: Node, zero: int) -> tuple[int, int]:
    """Return the ends of the kind of number of a zero point, by its name in the file."""
    name = node.program.kind_of(node.proto.input[zero]) if zero < len(node.proto.input) else ""
    if not name:
        from onnx import TensorProto

        number = int(node.attribute("output_dtype", 0)) if node.given("output_dtype") else 2
        name = str(TensorProto.DataType.Name(number))
    if name not in ENDS:
        raise node.error(f"codes of kind {name.lower()} are not supported")
    return ENDS[name]


def _scale(node: Node, index: int) -> tuple[Tensor, Tensor]:
    """Return scale and zero point, inputs ``index`` and ``index + 1``, which must be constant."""
    scale = node.constant(index, "scale")
    assert scale is not None
    zero = node.constant(index + 1, "zero point")
    if scale.dim() > 1:
        raise node.error("blocks of values with scales of their own are not supported")
    if not bool(torch.isfinite(scale).all()) or not bool((scale > 0).all()):
        raise node.error("a scale that is no positive number")
    shift = torch.zeros_like(scale, dtype=torch.int64) if zero is None else zero.to(torch.int64)
    if shift.numel() != scale.numel():
        raise node.error(f"{scale.numel()} scales and {shift.numel()} zero points")
    return scale.to(torch.float32), shift


def _axis(node: Node, value: Value, scale: Tensor) -> int:
    if scale.numel() == 1:
        return 0
    axis = node.axis("axis", 1, value.rank)
    if value.shape[axis] != scale.numel():
        raise node.error(f"{scale.numel()} scales for axis {axis} of {list(value.shape)}")
    return axis


def _dynamic(node: Node, index: int) -> bool:
    found = node.optional(index)
    return found is not None and found.const is None


def _quantize(node: Node) -> Outcome:
    x, ends = node.value(0), _ends(node, 2)
    if _dynamic(node, 1) or _dynamic(node, 2):
        return Call(lambda a, s, z: to_codes(a, s, z.to(a.dtype), 1, ends),
                    (x, node.value(1), node.value(2)))  # fmt: skip
    scale, zero = _scale(node, 1)
    codes = Quantised(x, scale, zero, _axis(node, x, scale), *ends)
    if x.const is not None:
        return rounding(codes)
    meta = torch.empty(x.shape, device="meta")
    return [Value(str(node.proto.output[0]), meta, None, codes)]


def _dequantize(node: Node) -> Outcome:
    x = node.value(0)
    if _dynamic(node, 1) or _dynamic(node, 2):
        values = (x, node.value(1), *(v for v in node.inputs[2:3] if v is not None))
        return Call(
            lambda a, s, z=None: to_reals(a, s, torch.zeros(()) if z is None else z.float(), 1),
            values,
        )
    scale, zero = _scale(node, 1)
    axis = _axis(node, x, scale)
    if x.const is not None:
        low, high = ENDS.get(node.program.kind_of(node.proto.input[0]), ENDS["INT8"])
        return [weight(node, x, Quantised(x, scale, zero, axis, low, high))]
    if x.codes is not None and same(x.codes, scale, zero):
        return there_and_back(x.codes)
    return Call(lambda a: to_reals(a, scale.to(a.device), zero.to(a.device), axis), (x,))


def kept(operator: Operator) -> Operator:
    """Let an operator that moves or chooses values work before rounding instead of after."""

    def run(node: Node) -> Outcome:
        x = node.optional(0)
        if x is None or x.codes is None or x.const is not None or x.codes.scale.numel() != 1:
            return operator(node)
        node.inputs = (x.codes.source, *node.inputs[1:])
        found = operator(node)
        if isinstance(found, Call):
            found = node.program.apply(node, found)
        return [
            Value(str(out), one.meta, None, replace(x.codes, source=one))
            for out, one in zip(node.proto.output, found, strict=False)
        ]

    return run


def _dynamic_quantize(node: Node) -> Outcome:
    """Codes 0 .. 255 over the range of the values as they come."""

    def run(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        axes = list(range(x.dim()))
        low = torch.clamp(torch.amin(x, axes), max=0.0)
        high = torch.clamp(torch.amax(x, axes), min=0.0)
        scale = (high - low) / 255.0
        zero = torch.clamp(torch.round(-low / scale), 0.0, 255.0)
        return torch.clamp(torch.round(x / scale) + zero, 0.0, 255.0), scale, zero

    return Call(run, (node.value(0),))


def _less(node: Node, value: Value, zero: Value | None, axis: int = 0) -> Value:
    """Return codes without their zero point, as real numbers."""
    if zero is None:
        zeros: tuple[Value, ...] = ()
    elif zero.const is not None and not bool(zero.const.any()):
        zeros = ()
    else:
        zeros = (zero,)
    if value.is_real and not zeros:
        return value

    def run(a: Tensor, *z: Tensor) -> Tensor:
        whole = a.to(torch.float32)
        if not z:
            return whole
        shift = z[0].to(torch.float32)
        if shift.numel() > 1:
            shape = [1] * a.dim()
            shape[axis] = shift.numel()
            shift = shift.reshape(shape)
        return whole - shift

    return node.program.apply(node, Call(run, (value, *zeros)), f"{value.name}.shifted")[0]


def _conv_integer(node: Node) -> Outcome:
    x = _less(node, node.value(0), node.optional(2))
    return convolution(node, x, _less(node, node.value(1), node.optional(3)), None)


def _matmul_integer(node: Node) -> Outcome:
    a, b = node.value(0), node.value(1)
    left = _less(node, a, node.optional(2), max(a.rank - 2, 0))
    return Call(torch.matmul, (left, _less(node, b, node.optional(3), max(b.rank - 1, 0))))


def _real(node: Node, index: int, axis: int) -> Value:
    """Return the real numbers of input ``index`` with its scale and zero point."""
    x = node.value(index)
    scale, zero = _scale(node, index + 1)
    if x.const is not None:
        name = node.program.kind_of(node.proto.input[index])
        low, high = ENDS.get(name, ENDS["INT8"])
        found = weight(node, x, Quantised(x, scale, zero, axis, low, high))
        return replace(found, name=f"{x.name}.real")
    if x.codes is not None and same(x.codes, scale, zero):
        call = there_and_back(x.codes)
    else:
        call = Call(lambda a: to_reals(a, scale.to(a.device), zero.to(a.device), axis), (x,))
    return node.program.apply(node, call, f"{x.name}.real")[0]


def _coded(node: Node, call: Call, index: int) -> list[Value]:
    """Return the result of a call as codes with the scale at input ``index``."""
    name = f"{node.proto.output[0]}.real"
    y = node.program.apply(node, call, name)[0]
    scale, zero = _scale(node, index)
    codes = Quantised(y, scale, zero, 0, *_ends(node, index + 1))
    return [Value(str(node.proto.output[0]), torch.empty(y.shape, device="meta"), None, codes)]


def _qlinear_conv(node: Node) -> Outcome:
    x, w, bias = _real(node, 0, 1), _real(node, 3, 0), node.optional(8)
    if bias is not None:
        if bias.const is None:
            raise node.error("its bias depends on an input of the network")
        step = _scale(node, 1)[0] * _scale(node, 4)[0]
        bias = node.made(bias.const.to(torch.float32) * step.reshape(-1), "bias")
    return _coded(node, convolution(node, x, w, bias), 6)


def _qlinear_matmul(node: Node) -> Outcome:
    a, b = node.value(0), node.value(3)
    left, right = _real(node, 0, max(a.rank - 2, 0)), _real(node, 3, max(b.rank - 1, 0))
    return _coded(node, Call(torch.matmul, (left, right)), 6)


TABLE: dict[str, Operator] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize, "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer, "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
}  # fmt: skip
