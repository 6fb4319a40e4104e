"""Groups of nodes that are one layer: a bias after a product, LayerNorm, GELU, attention.

ONNX, or an older opset of it, has no operator for them, so exporters write them as several. Each
function is given the last node of its group, looks back along the steps, and returns the layer's
own call, or None. What the layer makes superfluous is removed where nothing else reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.codes import transposed
from cimsim.frontends.onnx.operators.maps import axes_of, is_torchs, scalar
from cimsim.frontends.onnx.program import Call, Node, Outcome, Step, Value

Fusion = Callable[[Node], Outcome | None]


def _made(node: Node, value: Value | None, *kinds: str) -> Step | None:
    """Return the step that made a value, if it is of a kind and only this group reads it."""
    if value is None:
        return None
    step = node.program.made_by.get(value)
    if step is None or step.kind not in kinds or not node.program.alone(value):
        return None
    return step


def _operands(step: Step | Node) -> tuple[Value, Value]:
    """Return both operands as the node has them, numbers included."""
    if isinstance(step, Node):
        return step.value(0), step.value(1)
    first, second = step.operands[:2]
    assert first is not None
    assert second is not None
    return first, second


def _with_number(node: Node, step: Step | Node | None) -> tuple[Value, float] | None:
    """Return the operands of a step that has a number as one of them."""
    if step is None:
        return None
    one, two = _operands(step)
    for value, other in ((one, two), (two, one)):
        number = scalar(other)
        if value.const is None and number is not None:
            return value, float(number)
    return None


def biased(node: Node) -> Outcome | None:
    """``x @ W + b`` with a constant row b: a linear layer."""
    one, two = node.value(0), node.value(1)
    for value, bias in ((one, two), (two, one)):
        step = _made(node, value, "MatMul")
        if step is None or bias.const is None or bias.rank != 1 or not bias.is_real:
            continue
        x, weight = _operands(step)
        if weight.const is None or weight.rank != 2 or x.const is not None or x.rank < 2:
            continue
        if bias.shape[0] != weight.shape[1]:
            continue
        return Call(functional.linear, (x, transposed(node, weight), bias))
    return None


def gelu(node: Node) -> Outcome | None:
    """``x * 0.5 * (1 + erf(x / sqrt 2))``, in the orders in which it is written."""
    half = _with_number(node, node)
    if half is not None and abs(half[1] - 0.5) < 1e-6:
        step = _made(node, half[0], "Mul")
        pairs = [] if step is None else [_operands(step)]
    else:
        pairs = []
        for value, other in _both(node):
            scaled = _with_number(node, _made(node, value, "Mul"))
            if scaled is not None and abs(scaled[1] - 0.5) < 1e-6:
                pairs += [(scaled[0], other), (other, scaled[0])]
    for x, raised in [pair for one, two in pairs for pair in ((one, two), (two, one))]:
        plus = _with_number(node, _made(node, raised, "Add"))
        erf = None if plus is None or plus[1] != 1 else _made(node, plus[0], "Erf")
        inside = None if erf is None else erf.operands[0]
        step = _made(node, inside, "Div", "Mul")
        found = _with_number(node, step)
        if step is None or found is None or found[0] is not x:
            continue
        factor = 1 / found[1] if step.kind == "Div" and found[1] else found[1]
        if abs(factor - math.sqrt(0.5)) < 1e-4:
            return Call(functional.gelu, (x,))
    return None


def silu(node: Node) -> Outcome | None:
    """``x * sigmoid(x)`` and ``x * hardsigmoid(x)``."""
    for x, gate in _both(node):
        step = _made(node, gate, "Sigmoid", "HardSigmoid")
        if step is None or step.operands[0] is not x:
            continue
        if step.kind == "Sigmoid":
            return Call(functional.silu, (x,))
        if step.call.function is functional.hardsigmoid:
            return Call(functional.hardswish, (x,))
    return None


def hard_swish(node: Node) -> Outcome | None:
    """``x * clip(x + 3, 0, 6) / 6``."""
    by = _with_number(node, node)
    factor = None if by is None else (1 / by[1] if node.kind == "Div" and by[1] else by[1])
    if by is None or factor is None or not is_torchs(factor, 0.5):
        return None
    product = _made(node, by[0], "Mul")
    for x, gate in [] if product is None else _turns(*_operands(product)):
        clip = _made(node, gate, "Clip")
        ends = [] if clip is None else [None if v is None else scalar(v) for v in clip.operands[1:]]
        inside = None if clip is None else _with_number(node, _made(node, clip.operands[0], "Add"))
        if ends == [0, 6] and inside is not None and inside[1] == 3 and inside[0] is x:
            return Call(functional.hardswish, (x,))
    return None


def layer_norm(node: Node) -> Outcome | None:
    """``(x - mean) / sqrt(mean((x - mean)^2) + eps) * gamma + beta`` over the last axis."""
    for value, beta in _both(node):
        scaled = _made(node, value, "Mul")
        if beta.const is None or scaled is None:
            continue
        for normed, gamma in _turns(*_operands(scaled)):
            if gamma.const is None or gamma.shape != beta.shape or gamma.rank != 1:
                continue
            found = _normalised(node, normed)
            if found is None or found[0].shape[-1:] != gamma.shape:
                continue
            x, eps = found
            shape = list(gamma.shape)

            def run(
                a: Tensor, g: Tensor, b: Tensor, shape: list[int] = shape, eps: float = eps
            ) -> Tensor:
                return functional.layer_norm(a, shape, g, b, eps)

            return Call(run, (x, gamma, beta))
    return None


def _normalised(node: Node, value: Value) -> tuple[Value, float] | None:
    """Return x and eps of ``(x - mean) / sqrt(variance + eps)``."""
    step = _made(node, value, "Div")
    if step is None:
        return None
    centred, root = _operands(step)
    sqrt = _made(node, root, "Sqrt")
    plus = None if sqrt is None else _with_number(node, _made(node, sqrt.operands[0], "Add"))
    variance = None if plus is None else _last_mean(node, plus[0])
    square = None if variance is None else _square(node, variance)
    minus = node.program.made_by.get(centred)
    if plus is None or square is not centred or minus is None or minus.kind != "Sub":
        return None
    x, mean = _operands(minus)
    return (x, plus[1]) if _last_mean(node, mean) is x else None


def _square(node: Node, value: Value) -> Value | None:
    step = _made(node, value, "Pow", "Mul")
    if step is None:
        return None
    one, two = _operands(step)
    if step.kind == "Mul":
        return one if one is two else None
    return one if scalar(two) == 2 else None


def _last_mean(node: Node, value: Value) -> Value | None:
    """Return what a mean over the last axis, which is kept, was taken of."""
    step = _made(node, value, "ReduceMean")
    if step is None or step.node is None:
        return None
    x = step.operands[0]
    if x is None or value.rank != x.rank:
        return None
    return x if axes_of(step.node, x.rank) == [x.rank - 1] else None


def attention(node: Node) -> Outcome | None:
    """``softmax(q s @ (k s)^T + mask) @ v``: torch's attention, whose root of the scale is on both.

    Attention that was written by hand has its scale on one side, and stays as it was written.
    """
    softmax = _made(node, node.value(0), "Softmax")
    if softmax is None:
        return None
    scores = softmax.operands[0]
    mask: Value | None = None
    added = _made(node, scores, "Add")
    if added is not None:
        scores, mask = _operands(added)
    product = _made(node, scores, "MatMul")
    if product is None or node.value(0).rank != 4:
        return None
    left, right = (_with_number(node, _made(node, v, "Mul")) for v in _operands(product))
    if left is None or right is None or abs(left[1] - right[1]) > 1e-6:
        return None
    keys = _untransposed(node, right[0])
    query, value = left[0], node.value(1)
    if keys is None or value.rank != 4 or softmax.outputs[0].rank != 4:
        return None
    scale = left[1] * right[1]
    usual = abs(scale - 1 / math.sqrt(query.shape[-1])) < 1e-5
    values = (query, keys, value) if mask is None else (query, keys, value, mask)

    def run(q: Tensor, k: Tensor, v: Tensor, m: Tensor | None = None) -> Tensor:
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=m, scale=None if usual else scale
        )

    return Call(run, values)


def _untransposed(node: Node, value: Value) -> Value | None:
    """Return the keys [B, heads, n, d] of which a value is the transpose of the last two axes."""
    outer = _made(node, value, "Reshape", "Transpose")
    if outer is None:
        return None
    if outer.kind == "Transpose":
        source = outer.operands[0]
        return source if source is not None and _swaps_last(outer) else None
    turned = _made(node, outer.operands[0], "Transpose")
    inner = None if turned is None else _made(node, turned.operands[0], "Reshape")
    source = None if inner is None else inner.operands[0]
    if turned is None or source is None or not _swaps_last(turned):
        return None
    rows, cols = source.shape[-2:]
    return source if value.shape == (*source.shape[:-2], cols, rows) else None


def _swaps_last(step: Step) -> bool:
    order = [] if step.node is None else list(step.node.attribute("perm", []))
    n = len(order)
    return n > 1 and order == [*range(n - 2), n - 1, n - 2]


def _both(node: Node) -> list[tuple[Value, Value]]:
    return _turns(node.value(0), node.value(1))


def _turns(one: Value, two: Value) -> list[tuple[Value, Value]]:
    return [(one, two), (two, one)]


FUSIONS: dict[str, tuple[Fusion, ...]] = {
    "Add": (biased, layer_norm),
    "Mul": (gelu, silu, hard_swish),
    "Div": (hard_swish,),
    "MatMul": (attention,),
}
