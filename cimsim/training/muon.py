"""Muon: kernels move along the orthogonalised momentum, everything else by Adam.

The inputs of a denoiser's layers are far from white: patches of an image are alike but for a few
directions, and a gradient is large along those alone. Adam scales every weight by itself and
cannot undo that, so what is left to learn, the weak directions, it learns last. Muon replaces the
singular values of the momentum by ones: all directions move alike. On a CPU core the FastDVDnet
block is where Adam brings it in a third of the time, and CIM-NET's patch matrices move on from
their start in closed form.

Directions that carry nothing but noise move like all others, step by step. In front of a batch
norm, where the size of a kernel does not matter, nothing stops them: within a thousand steps most
of the kernel is noise, invisible on held-out crops, yet 1 dB lost on other clips and 15 dB on a
chip. So kernels in front of a norm decay.

References
----------
K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024: the update, and
the coefficients of the Newton-Schulz iteration. J. Liu et al., "Muon is scalable for LLM
training", arXiv 2502.16982: the scale of the update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn

from cimsim.training.folding import conv_layers

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
RMS = 0.2  # of an update at rate 1: that of Adam's, so both go by the same learning rate
DECAY = 1.0  # of kernels in front of a norm, per step at rate 1
LARGEST = 1100  # shorter edge of a matrix; beyond, orthogonalising costs more than the step


def orthogonalised(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return about the nearest matrix whose singular values are all the same, near 1.

    Five steps of an iteration whose polynomial is steep at 0 take every singular value above 1e-3
    of the norm to 0.7 .. 1.2. Smaller ones stay small.

    All steps together multiply the matrix by one polynomial of ``X X^T``. On a CPU it is evaluated
    on the eigenvalues of that smaller matrix: up to a third of the work of ten large products, and
    as close to the result in double precision. A GPU, which is fast at products alone, does them.

    Parameters
    ----------
    matrix : Tensor [..., m, n]
    dtype : torch.dtype
        Of the products.

    Returns
    -------
    Tensor [..., m, n]
        Of the dtype of ``matrix``; NaN for one that is not finite.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    norm = torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-12)
    x = (x / (1.01 * norm)).to(dtype)  # rounding must not take the norm beyond 1
    by_eigenvalues = matrix.device.type == "cpu" and dtype in (torch.float32, torch.float64)
    x = _by_eigenvalues(x) if by_eigenvalues else by_products(x)
    return (x.mT if tall else x).to(matrix.dtype)


def by_products(x: Tensor) -> Tensor:
    """Iterate as Muon is published, on a matrix [..., m, n] of norm below 1, m <= n."""
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _by_eigenvalues(x: Tensor) -> Tensor:
    """Return what `by_products` returns, to rounding."""
    a, b, c = COEFFICIENTS
    gram = x @ x.mT
    if not torch.isfinite(gram).all():
        return torch.full_like(x, torch.nan)
    values, vectors = torch.linalg.eigh(gram)
    values = values.double().clamp_min(0)
    factor = torch.ones_like(values)
    for _ in range(ITERATIONS):
        step = a + b * values + c * values.square()
        factor, values = factor * step, values * step.square()
    polynomial = (vectors * factor.to(x.dtype).unsqueeze(-2)) @ vectors.mT
    return polynomial @ x


class Muon(torch.optim.Adam):
    """Adam in which matrices and kernels of convolutions follow their orthogonalised momentum.

    A kernel is the matrix [out, in * k_y * k_x] of each group. Those that a batch norm follows
    decay by `DECAY`. Vectors, and matrices beyond `LARGEST`, are Adam's.

    Parameters
    ----------
    groups : iterable of dict
        Parameter groups, as for Adam.
    model : nn.Module
        Whose parameters they are.
    dtype : torch.dtype
        Of the products of the iteration.
    """

    def __init__(
        self, groups: Iterable[dict[str, object]], model: nn.Module, dtype: torch.dtype
    ) -> None:
        super().__init__(groups, betas=(0.9, 0.99), fused=True)
        self.dtype = dtype
        self.shapes = {
            id(part.weight): shape
            for part in model.modules()
            if isinstance(part, nn.Conv2d | nn.Linear)
            for shape in [_matrices(part)]
            if min(shape[1:]) <= LARGEST
        }
        self.normed = {id(conv.weight) for conv, norm in conv_layers(model) if norm is not None}

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step."""
        moved = [
            (group, parameter, parameter.grad)
            for group in self.param_groups
            for parameter in group["params"]
            if id(parameter) in self.shapes and parameter.grad is not None
        ]
        for _, parameter, _ in moved:
            parameter.grad = None  # Adam passes over what has none
        loss = super().step(closure)
        for group, parameter, gradient in moved:
            parameter.grad = gradient
            self._move(parameter, gradient, group["lr"])
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
            state["step"] = torch.zeros(())  # Adam asks every state that it loads for one
        momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
        shape = self.shapes[id(parameter)]
        ahead = gradient.add(momentum, alpha=MOMENTUM).reshape(shape)  # Nesterov
        if id(parameter) in self.normed:
            parameter.mul_(1 - rate * DECAY)
        step = orthogonalised(ahead, self.dtype).reshape(parameter.shape)
        parameter.add_(step, alpha=-rate * RMS * math.sqrt(max(shape[1:])))


def _matrices(layer: nn.Conv2d | nn.Linear) -> tuple[int, int, int]:
    """Return [groups, outputs of one, inputs of one]."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return groups, len(layer.weight) // groups, layer.weight[0].numel()
