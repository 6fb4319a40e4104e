"""Two classifiers of CIFAR-10 that chips were measured with: ResNet-20 and ResNet-9.

`ResNet20` is the network that W. Wan et al. put on the NeuRRAM chip (Nature 608, 2022; layers and
quantisers as in the authors' repository weierwan/Neurram_48core): an image of few bits with full
scale 0.95, activations of 3 bits that end at a trained value of each layer, batch norms that fold.
Simplification: the image has as many bits as the activations, since a chip file has one number of
input bits for all layers; the authors gave the image 4.

`ResNet9` is a residual network of nine layers as on the 64-core PCM chip (M. Le Gallo et al.,
Nature Electronics 6, 2023). Its widths are not published where we could read them; these are our
own.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

FULL_SCALE = 0.95  # of the image


class _Context(Protocol):
    """What autograd hands from the forward pass to the backward pass."""

    top: int

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Round(torch.autograd.Function):
    """Clip to 0 .. clip and round to steps; straight through, the clip learns from what it cut."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, clip: Tensor, top: int) -> Tensor:
        step = float(clip) / top
        code = torch.mul(x, 1 / step)
        ctx.save_for_backward(code)
        ctx.top = top
        return code.round().clamp_(0, top).mul_(step)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (code,) = ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(grad, code, 0, ctx.top)
        cut = torch.ops.aten.threshold_backward(grad, code, ctx.top)
        return passed, cut.sum(dtype=torch.float32), None


class Activation(nn.Module):
    """ReLU that ends at a trained value, rounded to ``bits``.

    Parameters
    ----------
    bits : int
    clip : float
        Where it ends before training.
    trained : bool
        False: the end stays.
    """

    zero: Tensor

    def __init__(self, bits: int = 3, clip: float = 3.0, *, trained: bool = True) -> None:
        super().__init__()
        self.top = 2**bits - 1
        self.clip = nn.Parameter(torch.tensor(clip), requires_grad=trained)
        self.register_buffer("zero", torch.zeros(1, dtype=torch.int32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` cut to 0 .. clip, in ``2**bits`` levels."""
        if torch.is_grad_enabled():
            return _Round.apply(x, self.clip, self.top)  # type: ignore[no-any-return]
        step = (self.clip / self.top).reshape(1)
        return torch.fake_quantize_per_tensor_affine(x.float(), step, self.zero, 0, self.top)


class _Block(nn.Module):
    """Two convolutions and what goes past them."""

    def __init__(self, before: int, after: int, bits: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.act1 = Activation(bits)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.past = nn.Conv2d(before, after, 1, stride) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, before its activation."""
        y = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return y + (x if self.past is None else self.past(x))  # type: ignore[no-any-return]


class ResNet20(nn.Module):
    """Nineteen 3 x 3 convolutions, two 1 x 1 shortcuts, one dense layer: 270 896 weights.

    Takes [B, 3, 32, 32] with pixels 0 .. 1, returns scores [B, 10].

    Parameters
    ----------
    bits : int
        Of the image and of activations.
    """

    shapes = ("1x3x32x32",)

    def __init__(self, bits: int = 3) -> None:
        super().__init__()
        self.image = Activation(bits, FULL_SCALE, trained=False)
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        widths = [16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.acts = nn.ModuleList(Activation(bits) for _ in widths)
        self.blocks = nn.ModuleList(
            _Block(before, after, bits)
            for before, after in zip([16, *widths], widths, strict=False)
        )
        self.pooled = Activation(bits)
        self.dense = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the classes."""
        x = self.norm(self.conv(self.image(x)))
        for act, block in zip(self.acts, self.blocks, strict=True):
            x = block(act(x))
        x = x.relu().mean((2, 3))
        return self.dense(self.pooled(x))  # type: ignore[no-any-return]


class ResNet9(nn.Module):
    """Eight 3 x 3 convolutions, two of them twice past by a sum, and one dense layer.

    Takes [B, 3, 32, 32] with pixels 0 .. 1, returns scores [B, 10]. Widths are 1, 2, 4 and 8 times
    ``width``; the default 28 makes a kernel of the second layer 252 rows, as many as fit a core of
    256.

    Parameters
    ----------
    width : int
    """

    shapes = ("1x3x32x32",)

    def __init__(self, width: int = 28) -> None:
        super().__init__()
        one, two, four, eight = (width * n for n in (1, 2, 4, 8))
        self.prep = _unit(3, one)
        self.layer1, self.res1 = _unit(one, two), nn.Sequential(_unit(two, two), _unit(two, two))
        self.layer2 = _unit(two, four)
        self.layer3 = _unit(four, eight)
        self.res3 = nn.Sequential(_unit(eight, eight), _unit(eight, eight))
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(eight, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the classes."""
        x = self.pool(self.layer1(self.prep(x)))
        x = self.pool(self.layer2(x + self.res1(x)))
        x = self.pool(self.layer3(x))
        x = x + self.res3(x)
        return self.dense(x.amax((2, 3)))  # type: ignore[no-any-return]


def _unit(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
