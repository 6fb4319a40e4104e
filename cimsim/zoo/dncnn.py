"""DnCNN (Zhang et al., IEEE TIP 2017), colour: a plain chain of convolutions on one frame."""

from __future__ import annotations

import torch
from torch import nn

from cimsim.zoo._frames import AbstractDenoiser, conv3x3, conv_bn_relu, init_kaiming


class DnCNN(AbstractDenoiser):
    """Predict the noise of one frame and subtract it; made for one noise level.

    The noise map is accepted, as everywhere in the zoo, and ignored: DnCNN knows no noise level.

    Parameters
    ----------
    depth : int
        Number of convolutions. Published: 17 for one noise level.
    width : int
        Channels of the hidden layers. Published: 64.
    """

    n_frames = 1

    def __init__(self, depth: int = 17, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += conv_bn_relu(conv3x3(width, width))
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))
        init_kaiming(self)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 3, H, W] to [B, 3, H, W]; ``noise_map`` is not read."""
        return frames - self.layers(frames)
