"""Programming error of analog cells, drawn afresh for every training step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

BITS = 8  # of a weight, sign included
TINY = 1e-6  # a batch norm's factor below this is taken as this
KNEE = 0.11  # share of the largest weight at which the error reaches 63 % of its full size


def error_sigma(weight: torch.Tensor, fraction: float) -> torch.Tensor:
    """Return the standard deviation of the error of every weight of one layer.

    ``fraction * max|w| * (1 - exp(-|w| / (KNEE * max|w|)))``: cells near zero conductance are
    programmed almost exactly, the others alike. The form follows measured 40 nm eFlash arrays
    (Bai 2024).

    Parameters
    ----------
    weight : Tensor, any shape
        Weights of one layer.
    fraction : float
        Error of a large weight in units of the largest.
    """
    size = weight.detach().abs()
    top = float(size.max())
    if top == 0:
        return torch.zeros_like(size)
    return fraction * top * -torch.expm1(-size / (KNEE * top))


class WeightNoise:
    """Makes every convolution of a network hold chip weights while a ``with`` block runs.

    Weights are rounded to 8 bits and get a programming error, as they sit on the chip: where a
    batch norm follows, its scale (by running variance) is folded into them first. The gradient
    passes straight through.

    Parameters
    ----------
    model : nn.Module
    fraction : float
        See `error_sigma`.
    """

    def __init__(self, model: nn.Module, fraction: float) -> None:
        self.fraction = fraction
        self.layers = list(conv_layers(model))

    @contextmanager
    def applied(self, seed: int) -> Iterator[None]:
        """Change the weights in place, restore them at the end; the same error for a seed."""
        if self.fraction == 0:
            yield
            return
        generator = torch.Generator(device=self.layers[0][0].weight.device).manual_seed(seed)
        originals = []
        with torch.no_grad():
            for conv, norm in self.layers:
                weight = conv.weight
                originals.append(weight.detach().clone())
                gain = folded_gain(conv, norm)
                gain = torch.where(gain.abs() < TINY, TINY, gain)
                weight.copy_(
                    programmed(weight * gain, bits=BITS, fraction=self.fraction, rng=generator)
                    / gain
                )
        try:
            yield
        finally:
            with torch.no_grad():
                for (conv, _), original in zip(self.layers, originals, strict=True):
                    conv.weight.copy_(original)


def folded_gain(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> torch.Tensor:
    """Return the factor [c_out, 1, 1, 1] that a batch norm puts on a convolution's weights."""
    shape = (conv.out_channels, 1, 1, 1)
    if norm is None or norm.running_var is None:
        return torch.ones(shape, device=conv.weight.device)
    return (norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)).reshape(shape)


def conv_layers(model: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Yield each convolution with the batch norm that follows it directly, in module order."""
    waiting: nn.Conv2d | None = None
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            if waiting is not None:
                yield waiting, None
            waiting = module
        elif isinstance(module, nn.BatchNorm2d) and waiting is not None:
            yield waiting, module
            waiting = None
    if waiting is not None:
        yield waiting, None


@torch.no_grad()
def round_weights(model: nn.Module, *, bits: int = BITS) -> None:
    """Round every convolution's weights, as folded, to the chip's grid, in place.

    A network trained with `WeightNoise` has learned what its rounded weights do; what lies between
    two steps of the grid was never trained.
    """
    for conv, norm in conv_layers(model):
        gain = folded_gain(conv, norm)
        gain = torch.where(gain.abs() < TINY, TINY, gain)
        grid = chip_weights(conv.weight * gain, bits=bits, fraction=0.0, seed=0)
        conv.weight.copy_(grid / gain)


def chip_weights(weight: torch.Tensor, *, bits: int, fraction: float, seed: int) -> torch.Tensor:
    """Return a layer's weights as a chip would hold them: rounded to a grid, then programmed.

    Symmetric grid with one scale per layer, set by the largest weight; then one draw of
    `error_sigma`.
    """
    generator = torch.Generator(device=weight.device).manual_seed(seed)
    return programmed(weight, bits=bits, fraction=fraction, rng=generator)


def programmed(
    weight: torch.Tensor, *, bits: int, fraction: float, rng: torch.Generator
) -> torch.Tensor:
    """Return what `chip_weights` describes, with the given source of the error."""
    top = float(weight.abs().max())
    if top == 0 or not math.isfinite(top):
        return weight.clone()
    step = top / (2 ** (bits - 1) - 1)
    grid = torch.round(weight / step) * step
    noise = torch.empty(weight.shape, device=weight.device).normal_(generator=rng)
    return grid + noise * error_sigma(grid, fraction)
