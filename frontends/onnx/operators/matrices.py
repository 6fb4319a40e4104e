"""Convolutions and products: what a chip may hold on its arrays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.codes import transposed
from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome, Value

_CONV: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d,
}  # fmt: skip
_BACK: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d,
}  # fmt: skip


class Sliding:
    """Kernel, stride, dilation and padding of a convolution or pooling along each axis.

    Parameters
    ----------
    node : Node
    sizes : tuple of int
        Of the axes of the map.
    kernel : list of int
    """

    def __init__(self, node: Node, sizes: tuple[int, ...], kernel: list[int]) -> None:
        axes = len(sizes)
        self.kernel = kernel
        self.stride = [int(n) for n in node.attribute("strides", [1] * axes)]
        self.dilation = [int(n) for n in node.attribute("dilations", [1] * axes)]
        pads = [int(n) for n in node.attribute("pads", [0] * 2 * axes)]
        lists = (self.kernel, self.stride, self.dilation)
        if any(len(n) != axes or min(n, default=1) < 1 for n in lists) or len(pads) != 2 * axes:
            raise node.error(
                f"kernel {kernel}, strides {self.stride}, dilations {self.dilation} and pads "
                f"{pads} for a map of {axes} axes"
            )
        self.before, self.after = pads[:axes], pads[axes:]
        how = str(node.attribute("auto_pad", "NOTSET"))
        self.same = how if how in ("SAME_UPPER", "SAME_LOWER") else ""
        if how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""):
            raise node.error(f"auto_pad '{how}'")
        if how == "VALID":
            self.before, self.after = [0] * axes, [0] * axes
        if self.same and node.kind != "ConvTranspose":
            self._keep_size(sizes)

    @property
    def even(self) -> bool:
        """Whether both ends of each axis get the same padding."""
        return self.before == self.after and min(self.before, default=0) >= 0

    @property
    def pads(self) -> list[int]:
        """The padding in torch's order."""
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        return [n for pair in pairs for n in pair]

    def _keep_size(self, sizes: tuple[int, ...]) -> None:
        for i, size in enumerate(sizes):
            extent = (self.kernel[i] - 1) * self.dilation[i] + 1
            total = max((-(-size // self.stride[i]) - 1) * self.stride[i] + extent - size, 0)
            small, large = total // 2, total - total // 2
            upper = self.same == "SAME_UPPER"
            self.before[i], self.after[i] = (small, large) if upper else (large, small)


def conv(node: Node) -> Outcome:
    """``Conv`` over 1 to 3 axes."""
    x, weight, bias = node.value(0), node.value(1), node.optional(2)
    return convolution(node, x, weight, bias)


def convolution(node: Node, x: Value, weight: Value, bias: Value | None) -> Call:
    """Return the convolution that a node with these attributes asks for."""
    axes = x.rank - 2
    if axes not in _CONV or weight.rank != x.rank:
        raise node.error(
            f"a map {list(x.shape)} and a kernel {list(weight.shape)}; 1 to 3 axes are supported"
        )
    kernel = [int(n) for n in node.attribute("kernel_shape", list(weight.shape[2:]))]
    if kernel != list(weight.shape[2:]):
        raise node.error(f"kernel_shape {kernel}, but its weights are {list(weight.shape)}")
    slide, groups = Sliding(node, x.shape[2:], kernel), int(node.attribute("group", 1))
    apply, padding = _CONV[axes], slide.before if slide.even else [0] * axes
    pads = None if slide.even else slide.pads

    def run(a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        a = a if pads is None else functional.pad(a, pads)
        return apply(a, w, b, slide.stride, padding, slide.dilation, groups)

    return Call(run, (x, weight) if bias is None else (x, weight, bias))


def _conv_transpose(node: Node) -> Outcome:
    x, weight, bias = node.value(0), node.value(1), node.optional(2)
    axes = x.rank - 2
    if axes not in _BACK or weight.rank != x.rank:
        raise node.error(
            f"a map {list(x.shape)} and a kernel {list(weight.shape)}; 1 to 3 axes are supported"
        )
    slide = Sliding(node, x.shape[2:], list(weight.shape[2:]))
    extra = [int(n) for n in node.attribute("output_padding", [0] * axes)]
    groups, apply = int(node.attribute("group", 1)), _BACK[axes]
    _fix_output(node, slide, x.shape[2:], extra)
    cuts: list[tuple[int, int, int]] = []
    padding = slide.before
    if not slide.even:
        # torch cuts both ends alike: nothing there, then each end by itself
        padding = [0] * axes
        for i, (size, first, last) in enumerate(
            zip(x.shape[2:], slide.before, slide.after, strict=True)
        ):
            extent = (slide.kernel[i] - 1) * slide.dilation[i] + 1
            whole = (size - 1) * slide.stride[i] + extent + extra[i]
            cuts.append((i + 2, first, whole - last))

    def run(a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = apply(a, w, b, slide.stride, padding, extra, groups, slide.dilation)
        for axis, start, stop in cuts:
            y = torch.ops.aten.slice.Tensor(y, axis, start, stop)
        return y

    return Call(run, (x, weight) if bias is None else (x, weight, bias))


def _fix_output(node: Node, slide: Sliding, sizes: tuple[int, ...], extra: list[int]) -> None:
    """Turn a wanted size of the output into padding."""
    wanted = node.attribute("output_shape")
    if wanted is None and slide.same:
        wanted = [n * s for n, s in zip(sizes, slide.stride, strict=True)]
    if wanted is None:
        return
    for i, out in enumerate(wanted[-len(sizes) :]):
        extent = (slide.kernel[i] - 1) * slide.dilation[i] + 1
        total = (sizes[i] - 1) * slide.stride[i] + extent + extra[i] - int(out)
        if total < 0:
            extra[i] -= total
            total = 0
        small, large = total // 2, total - total // 2
        upper = slide.same == "SAME_UPPER"
        slide.before[i], slide.after[i] = (large, small) if not upper else (small, large)


def _matmul(node: Node) -> Outcome:
    return Call(torch.matmul, (node.value(0), node.value(1)))


def _gemm(node: Node) -> Outcome:
    a, b, c = node.value(0), node.value(1), node.optional(2)
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    flip_a, flip_b = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    if a.rank != 2 or b.rank != 2:
        raise node.error(f"matrices {list(a.shape)} and {list(b.shape)}; two axes each")
    bias = _row(node, c, b.shape[0] if flip_b else b.shape[1], beta)
    if b.const is not None and b.is_real and (c is None or bias is not None):
        weight = b if flip_b else transposed(node, b)
        if alpha != 1:
            assert weight.const is not None
            weight = node.made(weight.const * alpha, "weight")
        values = (a, weight) if bias is None else (a, weight, bias)
        return Call(lambda x, *rest: functional.linear(x.t() if flip_a else x, *rest), values)

    def run(x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
        product = torch.matmul(x.t() if flip_a else x, y.t() if flip_b else y)
        product = product if alpha == 1 else product * alpha
        if z is None:
            return product
        return product + (z if beta == 1 else z * beta)

    return Call(run, (a, b) if c is None else (a, b, c))


def _row(node: Node, c: Value | None, columns: int, beta: float) -> Value | None:
    """Return a constant summand as one number for each column, if it is."""
    if c is None or c.const is None or c.meta.numel() not in (1, columns):
        return None
    if c.rank > 1 and c.shape[-1] != c.meta.numel():
        return None
    if c.rank == 1 and beta == 1 and c.shape[0] == columns:
        return c
    return node.made((c.const.reshape(-1) * beta).expand(columns).clone(), "bias")


def _einsum(node: Node) -> Outcome:
    equation = str(node.attribute("equation", ""))
    values = tuple(node.value(i) for i in range(len(node.inputs)))
    return Call(lambda *xs: torch.einsum(equation, *xs), values)


TABLE: dict[str, Operator] = {
    "Conv": conv, "ConvTranspose": _conv_transpose, "MatMul": _matmul, "Gemm": _gemm,
    "Einsum": _einsum,
}  # fmt: skip
