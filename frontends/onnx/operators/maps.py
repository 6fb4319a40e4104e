"""Elementwise functions, arithmetic, comparison and reductions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome, Value, torch_kind

_SELU = 1.0507009873554805, 1.6732632423543772


def _map(function: Callable[..., Tensor], **fixed: object) -> Operator:
    """Build the operator of a function of one value."""

    def operator(node: Node) -> Outcome:
        return Call(partial(function, **fixed), (node.value(0),))

    return operator


def scalar(value: Value) -> float | int | bool | None:
    """Return the number of a constant of one element and at most one axis, else None."""
    if value.const is None or value.const.numel() != 1 or value.rank > 1:
        return None
    return value.const.item()


def pair(node: Node, function: Callable[..., Tensor], one: Value, two: Value) -> Call:
    """Return a function of two values; a constant of one element stands as a number.

    So ``x * 0.5`` is what it is in torch, where numbers are no tensors.
    """
    number = scalar(two)
    if number is not None and one.const is None and one.rank >= two.rank:
        return Call(lambda x: function(x, number), (one,))
    number = scalar(one)
    if number is not None and two.const is None and two.rank >= one.rank:
        return Call(partial(_number_first, function, number), (two,))
    return Call(function, (one, two))


def _number_first(function: Callable[..., Tensor], number: float, x: Tensor) -> Tensor:
    if function in (torch.add, torch.mul, torch.eq):
        return function(x, number)
    if function is torch.sub:
        return torch.rsub(x, number)
    if function is torch.pow:
        return torch.pow(number, x)
    return function(torch.full((), number, dtype=x.dtype, device=x.device), x)


def _binary(function: Callable[..., Tensor]) -> Operator:
    def operator(node: Node) -> Outcome:
        return pair(node, function, node.value(0), node.value(1))

    return operator


def _variadic(function: Callable[..., Tensor], mean: bool = False) -> Operator:
    def operator(node: Node) -> Outcome:
        values = [node.value(i) for i in range(len(node.inputs))]

        def joined(*xs: Tensor) -> Tensor:
            total = xs[0]
            for x in xs[1:]:
                total = function(total, x)
            return total / len(xs) if mean else total

        return Call(joined, tuple(values))

    return operator


def _divide(one: Tensor, two: Tensor | float) -> Tensor:
    real = isinstance(one, Tensor) and one.is_floating_point()
    return torch.div(one, two) if real else torch.div(one, two, rounding_mode="trunc")


def _mod(node: Node) -> Outcome:
    like_c = bool(node.attribute("fmod", 0))
    return Call(torch.fmod if like_c else torch.remainder, (node.value(0), node.value(1)))


def _clip(node: Node) -> Outcome:
    ends = [node.constant(i, "bound") for i in (1, 2)]
    low, high = (None if end is None else end.item() for end in ends)
    if low is None and high is None:
        return [node.value(0)]
    return Call(lambda x: torch.clamp(x, low, high), (node.value(0),))


def _leaky(node: Node) -> Outcome:
    slope = float(node.attribute("alpha", 0.01))
    return Call(lambda x: functional.leaky_relu(x, slope), (node.value(0),))


def _elu(node: Node) -> Outcome:
    alpha = float(node.attribute("alpha", 1.0))
    return Call(lambda x: functional.elu(x, alpha), (node.value(0),))


def _celu(node: Node) -> Outcome:
    alpha = float(node.attribute("alpha", 1.0))
    return Call(lambda x: functional.celu(x, alpha), (node.value(0),))


def _selu(node: Node) -> Outcome:
    gamma, alpha = (
        float(node.attribute("gamma", _SELU[0])),
        float(node.attribute("alpha", _SELU[1])),
    )
    if abs(gamma - _SELU[0]) < 1e-6 and abs(alpha - _SELU[1]) < 1e-6:
        return Call(functional.selu, (node.value(0),))
    return Call(lambda x: gamma * functional.elu(x, alpha), (node.value(0),))


def _hard_sigmoid(node: Node) -> Outcome:
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    if is_torchs(alpha, beta):
        return Call(functional.hardsigmoid, (node.value(0),))
    return Call(lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0), (node.value(0),))


def is_torchs(alpha: float, beta: float) -> bool:
    """Whether a hard sigmoid is the one that torch has."""
    return abs(alpha - 1 / 6) < 1e-4 and abs(beta - 0.5) < 1e-6


def _thresholded(node: Node) -> Outcome:
    alpha = float(node.attribute("alpha", 1.0))
    return Call(lambda x: functional.threshold(x, alpha, 0.0), (node.value(0),))


def _gelu(node: Node) -> Outcome:
    how = str(node.attribute("approximate", "none"))
    return Call(lambda x: functional.gelu(x, approximate=how), (node.value(0),))


def _prelu(node: Node) -> Outcome:
    x, slope = node.value(0), node.value(1)
    channels = x.shape[1] if x.rank > 1 else 1
    along = (1,) * (slope.rank - max(x.rank - 1, 1)) + slope.shape
    per_channel = slope.meta.numel() in (1, channels) and all(n == 1 for n in along[1:])
    if slope.const is not None and x.is_real and (per_channel or slope.meta.numel() == 1):
        flat = node.made(slope.const.reshape(-1), "slope")
        return Call(functional.prelu, (x, flat))
    return Call(lambda a, b: torch.where(a < 0, a * b, a), (x, slope))


def _shrink(node: Node) -> Outcome:
    edge, bias = float(node.attribute("lambd", 0.5)), float(node.attribute("bias", 0.0))
    if bias == edge:
        return Call(lambda x: functional.softshrink(x, edge), (node.value(0),))
    if not bias:
        return Call(lambda x: functional.hardshrink(x, edge), (node.value(0),))
    raise node.error(f"lambd {edge} with bias {bias}; bias may be 0 or lambd")


def _cast(node: Node) -> Outcome:
    from onnx import helper

    x = node.value(0)
    if node.kind == "CastLike":
        target = node.value(1).meta.dtype
    else:
        number = int(node.attribute("to", 0))
        try:
            name = str(helper.tensor_dtype_to_np_dtype(number))
            target = getattr(torch, name)
        except (KeyError, TypeError, AttributeError):
            raise node.error(f"a cast to kind {number} is not supported") from None
    target = torch_kind(target)
    if x.meta.dtype == target or (x.codes is not None and x.const is None and x.is_real):
        return [x]
    return Call(lambda a: a.to(target), (x,))


def _where(node: Node) -> Outcome:
    return Call(torch.where, (node.value(0), node.value(1), node.value(2)))


def axes_of(node: Node, rank: int) -> list[int]:
    """Return the axes of a reduction: an attribute, or an input of newer opsets; none: all."""
    axes = node.attribute("axes") if node.given("axes") else node.whole(1, "axes")
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return []
        return list(range(rank))
    return sorted({node.within(int(axis), rank) for axis in axes})


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def operator(node: Node) -> Outcome:
        x = node.value(0)
        axes, keep = axes_of(node, x.rank), bool(node.attribute("keepdims", 1))
        if not axes:
            return [x]
        return Call(lambda a: function(a, axes, keep), (x,))

    return operator


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = torch.prod(x, axis, keepdim=keep)
    return x


def _mean(node: Node) -> Outcome:
    """Average; over all positions of a map it is torch's adaptive pooling to one pixel."""
    x = node.value(0)
    axes, keep = axes_of(node, x.rank), bool(node.attribute("keepdims", 1))
    if not axes:
        return [x]
    return Call(lambda a: torch.mean(a, axes, keep), (x,))


def _arg(function: Callable[..., Tensor]) -> Operator:
    def operator(node: Node) -> Outcome:
        x, keep = node.value(0), bool(node.attribute("keepdims", 1))
        if node.attribute("select_last_index", 0):
            raise node.error("select_last_index = 1 is not supported")
        axis = node.axis("axis", 0, x.rank)
        return Call(lambda a: function(a, axis, keep), (x,))

    return operator


def _cumulated(node: Node) -> Outcome:
    axes = node.whole(1, "axis") or [0]
    if node.attribute("exclusive", 0) or node.attribute("reverse", 0):
        raise node.error("exclusive and reverse sums are not supported")
    axis = node.within(axes[0], node.value(0).rank)
    return Call(lambda a: torch.cumsum(a, axis), (node.value(0),))


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def operator(node: Node) -> Outcome:
        axis = node.axis("axis", -1, node.value(0).rank)
        # from the end where it is the last axis, as layers are written
        axis = -1 if axis == node.value(0).rank - 1 else axis
        return Call(lambda a: function(a, axis), (node.value(0),))

    return operator


def _softplus(x: Tensor) -> Tensor:
    return functional.softplus(x)


def _softsign(x: Tensor) -> Tensor:
    return x / (x.abs() + 1)


def _is_nan(x: Tensor) -> Tensor:
    return torch.ne(x, x)


TABLE: dict[str, Operator] = {
    "Abs": _map(torch.abs), "Neg": _map(torch.neg), "Sign": _map(torch.sign),
    "Floor": _map(torch.floor), "Ceil": _map(torch.ceil), "Round": _map(torch.round),
    "Sqrt": _map(torch.sqrt), "Exp": _map(torch.exp), "Log": _map(torch.log),
    "Sin": _map(torch.sin), "Cos": _map(torch.cos), "Erf": _map(torch.erf),
    "Reciprocal": _map(torch.reciprocal), "Relu": _map(torch.relu),
    "Sigmoid": _map(torch.sigmoid), "Tanh": _map(torch.tanh), "Softplus": _map(_softplus),
    "Softsign": _map(_softsign), "HardSwish": _map(functional.hardswish),
    "Mish": _map(functional.mish), "Not": _map(torch.logical_not), "IsNaN": _map(_is_nan),
    "LeakyRelu": _leaky, "Elu": _elu, "Celu": _celu, "Selu": _selu, "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid, "ThresholdedRelu": _thresholded, "PRelu": _prelu,
    "Shrink": _shrink, "Clip": _clip, "Cast": _cast, "CastLike": _cast, "Where": _where,
    "Add": _binary(torch.add), "Sub": _binary(torch.sub), "Mul": _binary(torch.mul),
    "Div": _binary(_divide), "Pow": _binary(torch.pow), "Mod": _mod,
    "Equal": _binary(torch.eq), "Greater": _binary(torch.gt), "Less": _binary(torch.lt),
    "GreaterOrEqual": _binary(torch.ge), "LessOrEqual": _binary(torch.le),
    "And": _variadic(torch.logical_and), "Or": _variadic(torch.logical_or),
    "Max": _variadic(torch.maximum), "Min": _variadic(torch.minimum),
    "Sum": _variadic(torch.add), "Mean": _variadic(torch.add, mean=True),
    "ReduceMean": _mean,
    "ReduceSum": _reduction(lambda x, axes, keep: torch.sum(x, axes, keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: torch.amax(x, axes, keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: torch.amin(x, axes, keep)),
    "ReduceProd": _reduction(_product),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceL1": _reduction(lambda x, axes, keep: torch.sum(torch.abs(x), axes, keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: torch.sum(torch.square(x), axes, keep)),
    "ArgMax": _arg(torch.argmax), "ArgMin": _arg(torch.argmin), "CumSum": _cumulated,
    "Softmax": _softmax(functional.softmax), "LogSoftmax": _softmax(functional.log_softmax),
}  # fmt: skip
