"""Whole numbers of few bits, and the real numbers that they stand for.

A file rounds an activation in two nodes: QuantizeLinear makes whole numbers, DequantizeLinear real
ones again. In between there may be nodes that only move or choose values. Such a value is kept as
what was rounded and how, so that the two nodes become one rounding (`cimsim.frontends.rounding`),
which a chip's own input code can be. Where whole numbers themselves are read they are computed, as
float32: an array's sums of them are exact there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cimsim.frontends.onnx.program import Call, Node, Quantised, Value, constant
from cimsim.frontends.rounding import rounded

# ends of the kinds of numbers by their name in ONNX
ENDS = {
    "UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535), "INT16": (-32768, 32767),
    "UINT4": (0, 15), "INT4": (-8, 7), "INT32": (-(2**31), 2**31 - 1),
}  # fmt: skip


def along(part: Tensor, axis: int, rank: int) -> Tensor:
    """Return one number for each element of an axis in the shape that broadcasts."""
    if part.numel() == 1:
        return part.reshape(())
    shape = [1] * rank
    shape[axis] = part.numel()
    return part.reshape(shape)


def to_codes(x: Tensor, scale: Tensor, zero: Tensor, axis: int, ends: tuple[int, int]) -> Tensor:
    """Return the whole numbers of real ones, as float32."""
    step, shift = along(scale, axis, x.dim()), along(zero, axis, x.dim())
    return torch.clamp(torch.round(x / step) + shift, float(ends[0]), float(ends[1]))


def to_reals(q: Tensor, scale: Tensor, zero: Tensor, axis: int) -> Tensor:
    """Return the real numbers of whole ones."""
    step, shift = along(scale, axis, q.dim()), along(zero, axis, q.dim())
    return (q.to(torch.float32) - shift) * step


def rounding(codes: Quantised) -> Call:
    """Return the call that computes the whole numbers of an activation."""
    ends = (codes.low, codes.high)
    zero = codes.zero_point.to(torch.float32)

    def run(x: Tensor) -> Tensor:
        scale, shift = codes.scale.to(x.device), zero.to(x.device)
        if scale.numel() == 1:
            return torch.clamp(
                torch.round(x / float(codes.scale)) + float(zero), float(ends[0]), float(ends[1])
            )
        return to_codes(x, scale, shift, codes.axis, ends)

    return Call(run, (codes.source,))


def there_and_back(codes: Quantised) -> Call:
    """Return the call that rounds an activation to the real numbers that its codes stand for."""
    if codes.scale.numel() != 1:
        zero = codes.zero_point.to(torch.float32)

        def run(x: Tensor) -> Tensor:
            scale, shift = codes.scale.to(x.device), zero.to(x.device)
            whole = to_codes(x, scale, shift, codes.axis, (codes.low, codes.high))
            return to_reals(whole, scale, shift, codes.axis)

        return Call(run, (codes.source,))
    scale, zero_point = float(codes.scale), int(codes.zero_point)
    return Call(
        lambda x: rounded(x, scale, zero_point, codes.low, codes.high, False), (codes.source,)
    )


def same(one: Quantised, scale: Tensor, zero: Tensor) -> bool:
    """Whether whole numbers are read as what they were written as."""
    return torch.equal(one.scale.reshape(-1), scale.reshape(-1)) and torch.equal(
        one.zero_point.reshape(-1).to(torch.int64), zero.reshape(-1).to(torch.int64)
    )


def weight(node: Node, stored: Value, found: Quantised) -> Value:
    """Return the real numbers of stored whole ones; codes of up to 8 bits stay known."""
    assert stored.const is not None
    real = to_reals(
        stored.const, found.scale, found.zero_point.to(torch.float32), found.axis
    ).contiguous()
    meta = torch.empty(real.shape, dtype=real.dtype, device="meta")
    few = stored.const.dtype in (torch.int8, torch.uint8)
    return Value(str(node.proto.output[0]), meta, real, found if few else None)


def transposed(node: Node, value: Value) -> Value:
    """Return a constant matrix with its axes swapped and its codes, the same one each time."""
    known = node.program.transposes.get(value)
    if known is None:
        known = node.program.transposes[value] = _transposed(value)
    return known


def _transposed(value: Value) -> Value:
    assert value.const is not None
    turned = constant(f"{value.name}.t", value.const.t().contiguous())
    if value.codes is None:
        return turned
    stored = value.codes.source
    assert stored.const is not None
    flipped = stored.const.t().contiguous()
    source = replace(stored, name=f"{stored.name}.t", const=flipped, meta=flipped.to("meta"))
    return replace(turned, codes=replace(value.codes, source=source, axis=1 - value.codes.axis))


def read_back(value: Value, parts: dict[str, Tensor]) -> Tensor:
    """Compute a weight from its stored codes, as a torch program that holds them does.

    Parameters
    ----------
    value : Value
    parts : dict
        Tensors ``codes``, ``scale`` and ``zero_point`` of it.
    """
    codes = value.codes
    assert codes is not None
    own = torch.ops.quantized_decomposed
    if codes.scale.numel() == 1:
        return own.dequantize_per_tensor.tensor(  # type: ignore[no-any-return]
            parts["codes"], parts["scale"].reshape(()), parts["zero_point"].reshape(()),
            codes.low, codes.high, torch.int8 if codes.low < 0 else torch.uint8,
        )  # fmt: skip
    return own.dequantize_per_channel.default(  # type: ignore[no-any-return]
        parts["codes"], parts["scale"], parts["zero_point"], codes.axis, codes.low, codes.high,
        torch.int8 if codes.low < 0 else torch.uint8,
    )  # fmt: skip
