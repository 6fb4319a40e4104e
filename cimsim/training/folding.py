"""Which batch norm folds into which matrix, as the chip folds it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

Matrix = nn.Conv2d | nn.Linear


def matrix_layers(model: nn.Module) -> Iterator[tuple[str, Matrix, nn.BatchNorm2d | None]]:
    """Yield the name of each matrix, the matrix and the batch norm behind it, in module order."""
    waiting: tuple[str, Matrix] | None = None
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if waiting is not None:
                yield *waiting, None
            waiting = name, module
        elif isinstance(module, nn.BatchNorm2d) and waiting is not None:
            yield *waiting, module
            waiting = None
    if waiting is not None:
        yield *waiting, None


def conv_layers(model: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Yield each convolution with the batch norm that follows it directly, in module order."""
    for _, module, norm in matrix_layers(model):
        if isinstance(module, nn.Conv2d):
            yield module, norm


def folded(matrix: Matrix, norm: nn.BatchNorm2d | None) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return what a batch norm makes of its matrix by its running statistics, differentiable.

    Returns
    -------
    gain : Tensor [n_cols] or None
        Factor of each output's weights; None stands for ones.
    bias : Tensor [n_cols]
        Bias of the folded layer; zeros where there is neither bias nor norm.
    """
    weight, bias = matrix.weight, matrix.bias
    if norm is None:
        return None, weight.new_zeros(len(weight)) if bias is None else bias
    if norm.running_var is None or norm.running_mean is None:
        raise TypeError("a batch norm without running statistics cannot be folded")
    gain = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        gain = gain * norm.weight
    shift = -norm.running_mean if bias is None else bias - norm.running_mean
    shift = shift * gain
    return gain, shift if norm.bias is None else shift + norm.bias
