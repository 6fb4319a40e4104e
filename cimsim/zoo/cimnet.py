"""CIM-NET: a video denoiser whose few, large matrices suit computing-in-memory arrays."""

from __future__ import annotations

import torch
from torch import nn

from cimsim.zoo._frames import AbstractDenoiser, conv3x3, conv_bn_relu, init_kaiming
from cimsim.zoo.cim_conv import CIMConv
from cimsim.zoo.errors import ZooError

STRIDES = (2, 4, 8, 16)
WIDTHS = (32, 64, 128)
# Subtracted from the frames: inputs of both signs around zero halve what errors of analog weights
# do to the picture. The last layer's bias puts it back.
GREY = 0.5


def plain(channels: int, n_layers: int) -> nn.Sequential:
    """Return ``n_layers`` times convolution, batch norm, ReLU of equal width."""
    layers: list[nn.Module] = []
    for _ in range(n_layers):
        layers += conv_bn_relu(conv3x3(channels, channels))
    return nn.Sequential(*layers)


class CIMBlock(AbstractDenoiser):
    """Three frames and one noise map (10 channels) to the clean centre frame itself: no residual.

    For a stride S of 4 and more every layer outside the centre runs at ``H*W / S^2`` windows: the
    two smoothing CIM-CONVs write blocks of S x S pixels. At S = 2 the smoothing modules have
    stride 1 and only the down module has stride 2 (paper, section IV-B).

    Parameters
    ----------
    stride : int
        S: 2, 4, 8 or 16.

    References
    ----------
    CIM-NET, figure 4 and section III; widths as in FastDVDnet's block.
    """

    n_frames = 3

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.multiple = 2 * stride
        smooth = 1 if stride == 2 else stride
        w0, w1, w2 = WIDTHS
        c_in = self.n_frames * 3 + 1
        self.smooth_in = CIMConv(c_in, w0, stride=smooth, block=smooth)
        self.down1 = CIMConv(w0, w1, stride=stride, block=1, norm=True)
        self.encode = plain(w1, 2)
        self.down2 = CIMConv(w1, w2, stride=2, block=1, norm=True)
        self.middle = plain(w2, 4)
        self.up2 = CIMConv(w2, w1, stride=1, block=2, norm=True)
        self.decode = plain(w1, 2)
        self.up1 = CIMConv(w1, w0, stride=1, block=stride, norm=True)
        self.smooth_out = CIMConv(w0, 3, stride=smooth, block=smooth, activation=False)
        init_kaiming(self)
        nn.init.constant_(self.smooth_out.fc.bias, GREY)  # type: ignore[arg-type]

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 2 S."""
        full = self.smooth_in(torch.cat([frames - GREY, noise_map], dim=1))
        coarse = self.encode(self.down1(full))
        coarse = self.decode(coarse + self.up2(self.middle(self.down2(coarse))))
        return self.smooth_out(full + self.up1(coarse))


class CIMNet(AbstractDenoiser):
    """CIM-NET of one stage (3 frames) or two stages (5 frames).

    Two stages are FastDVDnet's cascade: one block with shared weights denoises the triplets
    (0, 1, 2), (1, 2, 3), (2, 3, 4), a second block joins the three results. As written that
    is four block runs per frame; `cimsim.zoo.streaming` needs two.

    Parameters
    ----------
    stride : int
        S: 2, 4, 8 or 16.
    stages : int
        1 or 2.
    """

    def __init__(self, stride: int = 8, stages: int = 1) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise ZooError(f"cimnet stride: expected one of {STRIDES}, got {stride!r}")
        if stages not in (1, 2):
            raise ZooError(f"cimnet stages: expected 1 or 2, got {stages!r}")
        self.stride = stride
        self.stages = stages
        self.multiple = 2 * stride
        self.n_frames = 3 if stages == 1 else 5
        self.block1 = CIMBlock(stride)
        if stages == 2:
            self.block2 = CIMBlock(stride)

    def first_stage(self, triplet: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Denoise one noisy triplet [B, 9, H, W] to [B, 3, H, W]."""
        return self.block1(triplet, noise_map)

    def second_stage(self, triplet: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Join three results of the first stage [B, 9, H, W] to [B, 3, H, W]."""
        return self.block2(triplet, noise_map)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, n_frames * 3, H, W] and [B, 1, H, W] to [B, 3, H, W]."""
        if self.stages == 1:
            return self.first_stage(frames, noise_map)
        steps = [self.first_stage(frames[:, 3 * i : 3 * i + 9], noise_map) for i in range(3)]
        return self.second_stage(torch.cat(steps, dim=1), noise_map)
