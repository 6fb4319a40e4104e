"""Normalisation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome


def _batch_norm(node: Node) -> Outcome:
    if node.attribute("training_mode", 0):
        raise node.error("takes the statistics of each batch; export the network in eval mode")
    x, gamma, beta, mean, variance = (node.value(i) for i in range(5))
    eps = float(node.attribute("epsilon", 1e-5))
    return Call(
        lambda a, g, b, m, v: functional.batch_norm(a, m, v, g, b, False, 0.1, eps),
        (x, gamma, beta, mean, variance),
    )


def _instance_norm(node: Node) -> Outcome:
    eps = float(node.attribute("epsilon", 1e-5))
    return Call(
        lambda a, g, b: functional.instance_norm(a, weight=g, bias=b, eps=eps),
        (node.value(0), node.value(1), node.value(2)),
    )


def _layer_norm(node: Node) -> Outcome:
    x, gamma, beta = node.value(0), node.value(1), node.optional(2)
    axis, eps = node.axis("axis", -1, x.rank), float(node.attribute("epsilon", 1e-5))
    shape = list(x.shape[axis:])

    def run(a: Tensor, g: Tensor, b: Tensor | None = None) -> Tensor:
        g = g if list(g.shape) == shape else g.expand(shape)
        b = b if b is None or list(b.shape) == shape else b.expand(shape)
        return functional.layer_norm(a, shape, g, b, eps)

    return Call(run, (x, gamma) if beta is None else (x, gamma, beta))


def _group_norm(node: Node) -> Outcome:
    x, gamma, beta = node.value(0), node.value(1), node.value(2)
    groups, eps = int(node.attribute("num_groups", 1)), float(node.attribute("epsilon", 1e-5))
    if gamma.shape == (groups,) != (x.shape[1],):
        # opset 18 has one pair of numbers for each group
        times = x.shape[1] // max(groups, 1)
        return Call(
            lambda a, g, b: functional.group_norm(
                a, groups, g.repeat_interleave(times), b.repeat_interleave(times), eps
            ),
            (x, gamma, beta),
        )
    return Call(lambda a, g, b: functional.group_norm(a, groups, g, b, eps), (x, gamma, beta))


def _lp_norm(node: Node) -> Outcome:
    x, power = node.value(0), int(node.attribute("p", 2))
    axis = node.axis("axis", -1, x.rank)
    if power == 1:
        return Call(lambda a: a / torch.sum(torch.abs(a), [axis], True), (x,))
    return Call(lambda a: a / torch.linalg.vector_norm(a, 2, [axis], True), (x,))


TABLE: dict[str, Operator] = {
    "BatchNormalization": _batch_norm, "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm, "GroupNormalization": _group_norm,
    "LpNormalization": _lp_norm,
}  # fmt: skip
