"""FastDVDnet (Tassano, Delon, Veit, CVPR 2020), key for key as published, and its single block."""

from __future__ import annotations

import torch
from torch import nn

from cimsim.zoo._frames import (
    AbstractDenoiser,
    conv3x3,
    conv_bn_relu,
    frame,
    init_kaiming,
    interleave,
)


class CvBlock(nn.Module):
    """Twice convolution, batch norm, ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            *conv_bn_relu(conv3x3(c_in, c_out)), *conv_bn_relu(conv3x3(c_out, c_out))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, c_in, H, W] to [B, c_out, H, W]."""
        return self.convblock(x)


class InputCvBlock(nn.Module):
    """Each frame with its noise map by itself (grouped), then all frames together."""

    def __init__(self, n_frames: int, c_out: int, per_frame: int) -> None:
        super().__init__()
        hidden = n_frames * per_frame
        self.convblock = nn.Sequential(
            *conv_bn_relu(conv3x3(n_frames * 4, hidden, groups=n_frames)),
            *conv_bn_relu(conv3x3(hidden, c_out)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, n_frames * 4, H, W] to [B, c_out, H, W]."""
        return self.convblock(x)


class DownBlock(nn.Module):
    """Convolution of stride 2, then a `CvBlock`."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            *conv_bn_relu(conv3x3(c_in, c_out, stride=2)), CvBlock(c_out, c_out)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, c_in, H, W] to [B, c_out, H / 2, W / 2]."""
        return self.convblock(x)


class UpBlock(nn.Module):
    """A `CvBlock`, then a convolution and a pixel shuffle to twice the size."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            CvBlock(c_in, c_in), conv3x3(c_in, c_out * 4), nn.PixelShuffle(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, c_in, H, W] to [B, c_out, 2 H, 2 W]."""
        return self.convblock(x)


class OutputCvBlock(nn.Module):
    """Convolution, batch norm, ReLU, convolution."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(*conv_bn_relu(conv3x3(c_in, c_in)), conv3x3(c_in, c_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, c_in, H, W] to [B, c_out, H, W]."""
        return self.convblock(x)


class DenBlock(AbstractDenoiser):
    """The denoising block: three frames and a noise map to the centre frame, by its residual.

    Parameters
    ----------
    width : int
        Channels at full size; half and quarter size have twice and four times as many.
        Published: 32.
    per_frame : int
        Channels per frame inside the input block. Published: 30.
    """

    n_frames = 3
    multiple = 4

    def __init__(self, width: int = 32, per_frame: int = 30) -> None:
        super().__init__()
        self.inc = InputCvBlock(self.n_frames, width, per_frame)
        self.downc0 = DownBlock(width, 2 * width)
        self.downc1 = DownBlock(2 * width, 4 * width)
        self.upc2 = UpBlock(4 * width, 2 * width)
        self.upc1 = UpBlock(2 * width, width)
        self.outc = OutputCvBlock(width, 3)
        init_kaiming(self)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 4."""
        full = self.inc(interleave(frames, noise_map))
        half = self.downc0(full)
        quarter = self.downc1(half)
        half = half + self.upc2(quarter)
        full = full + self.upc1(half)
        return frame(frames, 1) - self.outc(full)


class FastDVDnet(AbstractDenoiser):
    """Two cascaded steps of denoising blocks over five frames.

    ``temp1`` denoises the triplets (0, 1, 2), (1, 2, 3), (2, 3, 4) with shared weights, ``temp2``
    joins the three results: four block runs per output frame. `cimsim.zoo.streaming` reuses the
    results of ``temp1`` and needs two runs per new frame.

    The published state dict loads after stripping ``module.`` from its keys.

    Parameters
    ----------
    width, per_frame : int
        As for `DenBlock`.
    """

    n_frames = 5
    multiple = 4

    def __init__(self, width: int = 32, per_frame: int = 30) -> None:
        super().__init__()
        self.temp1 = DenBlock(width, per_frame)
        self.temp2 = DenBlock(width, per_frame)

    def first_stage(self, triplet: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Denoise one noisy triplet [B, 9, H, W] to [B, 3, H, W]."""
        return self.temp1(triplet, noise_map)

    def second_stage(self, triplet: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Join three results of the first stage [B, 9, H, W] to [B, 3, H, W]."""
        return self.temp2(triplet, noise_map)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 15, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 4."""
        steps = [self.first_stage(frames[:, 3 * i : 3 * i + 9], noise_map) for i in range(3)]
        return self.second_stage(torch.cat(steps, dim=1), noise_map)
