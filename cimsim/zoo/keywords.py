"""Two keyword networks that fit the 40 nm eFlash chip: a depthwise separable CNN and an LSTM.

Both take the cepstra [B, 1, frames, coefficients] of `cimsim.audio.features` and return scores of
ten words. Structure as in Zhang, Suda, Lai, Chandra: Hello Edge: Keyword Spotting on
Microcontrollers, arXiv 1711.07128 (DS-CNN and LSTM of its small class); widths are our own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FRAMES, COEFFICIENTS = 49, 10
SHAPE = f"1x1x{FRAMES}x{COEFFICIENTS}"


class _Scaled(nn.Module):
    """``(x - mean) * scale`` by coefficient, with what the training recordings have."""

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COEFFICIENTS))
        self.register_buffer("scale", torch.ones(COEFFICIENTS))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 1, frames, coefficients] with mean 0 and deviation 1."""
        return (x - self.mean) * self.scale


class DSCNN(nn.Module):
    """A 10 x 4 convolution, then pairs of a depthwise 3 x 3 and a pointwise one.

    Parameters
    ----------
    width : int
        Channels of every layer.
    blocks : int
        Pairs.
    classes : int
    """

    shapes = (SHAPE,)

    def __init__(self, width: int = 64, blocks: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.scaled = _Scaled()
        self.first = nn.Sequential(
            nn.Conv2d(1, width, (10, 4), 2, (5, 1), bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(_separable(width) for _ in range(blocks)))
        self.dense = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the classes."""
        x = self.blocks(self.first(self.scaled(x)))
        return self.dense(x.mean((2, 3)))  # type: ignore[no-any-return]


class KeywordLSTM(nn.Module):
    """One LSTM layer over the frames; a dense layer reads its last output.

    Parameters
    ----------
    width : int
        Of the state.
    classes : int
    """

    shapes = (SHAPE,)

    def __init__(self, width: int = 128, classes: int = 10) -> None:
        super().__init__()
        self.scaled = _Scaled()
        self.lstm = nn.LSTM(COEFFICIENTS, width, batch_first=True)
        self.dense = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the classes."""
        out, _ = self.lstm(self.scaled(x)[:, 0])
        return self.dense(out[:, -1])  # type: ignore[no-any-return]


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False), nn.BatchNorm2d(width),
        nn.ReLU(), nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
    )  # fmt: skip
