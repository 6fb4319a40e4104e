"""FFDNet (Zhang, Zuo, Zhang, IEEE TIP 2018), colour: half-size processing with a noise map."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from cimsim.zoo._frames import AbstractDenoiser, conv3x3, conv_bn_relu, init_kaiming


class FFDNet(AbstractDenoiser):
    """Four half-size sub-images and a noise map per colour (15 channels) through plain layers.

    As in Tassano's public implementation (IPOL 2019) the network predicts the noise, which is
    subtracted, and the first layer reads 12 image channels and 3 noise map channels.

    Parameters
    ----------
    depth : int
        Number of convolutions. Published for colour: 12.
    width : int
        Channels of the hidden layers. Published for colour: 96.
    """

    n_frames = 1
    multiple = 2

    def __init__(self, depth: int = 12, width: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv3x3(15, width), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += conv_bn_relu(conv3x3(width, width))
        self.layers = nn.Sequential(*layers, conv3x3(width, 12))
        init_kaiming(self)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 3, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W even."""
        level = noise_map[:, :, ::2, ::2].expand(-1, 3, -1, -1)
        noise = self.layers(torch.cat([functional.pixel_unshuffle(frames, 2), level], dim=1))
        return frames - functional.pixel_shuffle(noise, 2)
