"""Which layers can never see a negative input: a chip applies theirs once, without a sign."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cimsim.graph.ir import DigitalOp, LayerGraph, MatrixOp, Op, Ref, is_tensor

# never negative, whatever goes in
_RECTIFIERS = {
    "relu", "relu6", "sigmoid", "hardsigmoid", "softmax", "softplus", "exp", "abs", "square",
    "sqrt", "norm", "std", "var",
}  # fmt: skip
# never negative if the input is not
_KEEPERS = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose",
    "movedim", "select", "stack", "cat", "slice", "expand", "repeat", "flip", "roll",
    "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "upsample_nearest", "upsample_bilinear",
    "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "sum",
    "amax", "max", "leaky_relu", "index_select", "unfold", "cast", "rounded",
}  # fmt: skip
# never negative if no operand and no constant is
_COMBINERS = {"add", "mul", "div", "maximum", "minimum", "pad", "pow"}
# never negative if the lower bound, the first constant, is not
_BOUNDED = {"clamp", "hardtanh"}


def mark_signs(graph: LayerGraph) -> LayerGraph:
    """Set `MatrixOp.signed` to False where no input can be negative.

    Network inputs may be negative (noisy frames are not clipped), and so may the output of every
    matrix; codes of a quantised network that begin at 0 make them 0. What no rule is known for
    counts as signed. Operations that share a programmed matrix are signed if one of them is, for
    they share its rows.
    """
    positive: set[str] = set()
    for op in graph:
        if isinstance(op, DigitalOp) and _is_non_negative(op, positive):
            positive.add(op.name)
    sharing: dict[str, bool] = defaultdict(bool)
    for matrix in graph.matrix_ops:
        cut = matrix.rounding is not None and matrix.rounding.ends[0] >= 0
        sharing[matrix.weights_id or matrix.name] |= not cut and matrix.inputs[0] not in positive

    def marked(op: Op) -> Op:
        if not isinstance(op, MatrixOp):
            return op
        return replace(op, signed=sharing[op.weights_id or op.name])

    return graph.with_ops(marked(op) for op in graph)


def _is_non_negative(op: DigitalOp, positive: set[str]) -> bool:
    if op.op in _RECTIFIERS:
        return True
    if op.op in _BOUNDED:
        bounds = list(_constants(op.args[1:2])) or list(_constants((op.kwargs.get("min"),)))
        if bounds and _at_least_zero(bounds[0]):
            return True
    if op.op not in _KEEPERS | _COMBINERS or not all(name in positive for name in op.inputs):
        return False
    constants = (*op.args, *op.kwargs.values())
    return op.op in _KEEPERS or all(map(_at_least_zero, _constants(constants)))


def _constants(value: object) -> Iterator[object]:
    """Yield the numbers and tensors among nested arguments."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _constants(item)
    elif value is not None and not isinstance(value, Ref | str | bool):
        yield value


def _at_least_zero(value: object) -> bool:
    """Whether a number, or every element of a tensor, is >= 0; False for anything else."""
    if isinstance(value, int | float):
        return value >= 0
    try:
        if is_tensor(value):
            return bool((value >= 0).all())
        return isinstance(value, np.ndarray) and bool((value >= 0).all())
    except TypeError:  # complex numbers
        return False
