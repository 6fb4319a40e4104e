"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.operators.matrices import Sliding
from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome, Value

_MAX: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d,
}  # fmt: skip
_MEAN: dict[int, Callable[..., object]] = {
    1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d,
}  # fmt: skip
_ALL: dict[tuple[str, int], Callable[..., object]] = {
    ("GlobalAveragePool", 1): functional.adaptive_avg_pool1d,
    ("GlobalAveragePool", 2): functional.adaptive_avg_pool2d,
    ("GlobalAveragePool", 3): functional.adaptive_avg_pool3d,
    ("GlobalMaxPool", 1): functional.adaptive_max_pool1d,
    ("GlobalMaxPool", 2): functional.adaptive_max_pool2d,
    ("GlobalMaxPool", 3): functional.adaptive_max_pool3d,
}


def _slide(node: Node, x: Value) -> Sliding:
    kernel = node.attribute("kernel_shape")
    if x.rank - 2 not in _MAX or not isinstance(kernel, list):
        raise node.error(f"a kernel {kernel} on {list(x.shape)}; 1 to 3 axes are supported")
    return Sliding(node, x.shape[2:], [int(n) for n in kernel])


def _fits(slide: Sliding) -> bool:
    """Whether torch takes the padding: alike at both ends, at most half of the kernel."""
    pairs = zip(slide.before, slide.kernel, strict=True)
    return slide.even and all(2 * pad <= size for pad, size in pairs)


def _max_pool(node: Node) -> Outcome:
    x = node.value(0)
    slide, ceil = _slide(node, x), bool(node.attribute("ceil_mode", 0))
    apply, inside = _MAX[x.rank - 2], _fits(slide)
    padding = slide.before if inside else [0] * (x.rank - 2)

    def run(a: Tensor) -> Tensor:
        a = a if inside else functional.pad(a, slide.pads, value=-math.inf)
        return apply(a, slide.kernel, slide.stride, padding, slide.dilation, ceil)

    return Call(run, (x,))


def _average_pool(node: Node) -> Outcome:
    x = node.value(0)
    slide, ceil = _slide(node, x), bool(node.attribute("ceil_mode", 0))
    count = bool(node.attribute("count_include_pad", 0))
    apply = _MEAN[x.rank - 2]
    if set(slide.dilation) != {1}:
        raise node.error("averages over dilated windows are not supported")
    if _fits(slide):
        return Call(lambda a: apply(a, slide.kernel, slide.stride, slide.before, ceil, count), (x,))
    if ceil:
        raise node.error("ceil_mode with uneven padding is not supported")
    ones = functional.pad(torch.ones((1, 1, *x.shape[2:])), slide.pads, value=float(count))
    share = node.made(apply(ones, slide.kernel, slide.stride), "share")
    return Call(
        lambda a, part: apply(functional.pad(a, slide.pads), slide.kernel, slide.stride) / part,
        (x, share),
    )


def _global_pool(node: Node) -> Outcome:
    x = node.value(0)
    apply = _ALL.get((node.kind, x.rank - 2))
    if apply is None:
        raise node.error(f"of {list(x.shape)}; maps of 1 to 3 axes are supported")
    size = [1] * (x.rank - 2)
    return Call(lambda a: apply(a, size), (x,))


TABLE: dict[str, Operator] = {
    "MaxPool": _max_pool, "AveragePool": _average_pool, "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
}  # fmt: skip
