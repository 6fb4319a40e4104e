"""Steps of a chip that have no useful gradient, each with the one that training takes instead.

Rounding passes the gradient on as if it were the identity (straight through; Bengio, Leonard,
Courville, arXiv 1308.3432). A value that a converter clipped passes none: no small change of it
would change the output.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def encode(x: Tensor, scale: float, zero: int, top: int) -> Tensor:
    """Return the input codes of activations, less the code of 0.

    ``clip(rint(x / scale) + zero, 0, top) - zero``: whole numbers, as float32.
    """
    return _Encode.apply(x, scale, -zero, top - zero)  # type: ignore[no-any-return]


def stand_in(nominal: Tensor, cells: Tensor) -> Tensor:
    """Return ``cells``, whose gradient goes to ``nominal`` as if they were the same."""
    return _StandIn.apply(nominal, cells)  # type: ignore[no-any-return]


def convert(
    current: Tensor, gain: Tensor, shift: Tensor, noise: Tensor | None, step: Tensor, top: int
) -> Tensor:
    """Return what converters make of partial sums, less the constant that code 0 stands for.

    ``step * clip(rint(current * gain / step + shift + noise), 0, top)``.

    Parameters
    ----------
    current : Tensor [..., n_cols]
        Partial sums.
    gain, shift, step : Tensor [n_cols]
        Factor of each column's converter, level of a partial sum of 0, partial sum per step.
    noise : Tensor [..., n_cols] or None
        In steps.
    top : int
        Largest code.
    """
    return _Convert.apply(current, gain, shift, noise, step, top)  # type: ignore[no-any-return]


class _Saved(Protocol):
    """What autograd hands from a forward pass to its backward pass."""

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Scaled(_Saved, Protocol):
    scale: float


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Scaled, x: Tensor, scale: float, low: int, high: int) -> Tensor:
        level = torch.div(x, scale).round_()
        code = level.clamp(low, high)
        ctx.save_for_backward(level == code)
        ctx.scale = scale
        return code

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: _Scaled, grad: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        return (grad * inside).div_(ctx.scale), None, None, None


class _StandIn(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, _nominal: Tensor, cells: Tensor) -> Tensor:
        return cells.view_as(cells)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(_ctx: object, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad, None


class _Convert(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Saved, current: Tensor, gain: Tensor, shift: Tensor, noise: Tensor | None,
        step: Tensor, top: int,
    ) -> Tensor:  # fmt: skip
        level = torch.addcmul(shift, current, gain / step)
        if noise is not None:
            level += noise
        level.round_()
        code = level.clamp(0, top)
        ctx.save_for_backward(level == code, gain)
        return code.mul_(step)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: _Saved, grad: Tensor) -> tuple[Tensor | None, ...]:
        inside, gain = ctx.saved_tensors
        return (grad * inside).mul_(gain), None, None, None, None, None
