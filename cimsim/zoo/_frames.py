"""What every network here shares: the input contract and padding to a multiple of the strides."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class AbstractDenoiser(nn.Module):
    """A network that estimates the clean centre frame of a short window of noisy frames.

    ``forward(frames, noise_map)`` takes ``frames`` [B, n_frames * 3, H, W], float, clean range
    [0, 1] plus noise (not clipped), frame-major RGB, and ``noise_map`` [B, 1, H, W] holding
    ``sigma / 255``. It returns [B, 3, H, W]. Any H and W are accepted: when they are no multiple
    of ``multiple`` the last row and column are repeated and the surplus is cropped again.

    Attributes
    ----------
    n_frames : int
        Length of the window: 1, 3 or 5.
    multiple : int
        Frame sizes that need no padding are multiples of this.
    """

    n_frames: int = 1
    multiple: int = 1

    def forward(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Return the estimate of the clean centre frame, [B, 3, H, W]."""
        height, width = frames.shape[-2:]
        if height % self.multiple == 0 and width % self.multiple == 0:
            return self.estimate(frames, noise_map)
        padded = self.estimate(pad(frames, self.multiple), pad(noise_map, self.multiple))
        return padded[..., :height, :width]

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Do the work for frames whose size fits; arguments and result as for ``forward``."""
        raise NotImplementedError


def pad(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the last row and column of [B, C, H, W] until both edges are multiples."""
    below, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return functional.pad(x, (0, right, 0, below), mode="replicate")


def frame(frames: torch.Tensor, index: int) -> torch.Tensor:
    """Return frame ``index`` of a stack [B, n * 3, H, W] as [B, 3, H, W]."""
    return frames[:, 3 * index : 3 * index + 3]


def interleave(frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
    """Return frame, map, frame, map, ...: [B, n * 4, H, W], what FastDVDnet's first layer reads."""
    n_frames = frames.shape[1] // 3
    parts = [part for i in range(n_frames) for part in (frame(frames, i), noise_map)]
    return torch.cat(parts, dim=1)


def conv3x3(c_in: int, c_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return the plain 3x3 convolution of these networks: padding 1, no bias."""
    return nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, groups=groups, bias=False)


def conv_bn_relu(conv: nn.Conv2d) -> list[nn.Module]:
    """Return the convolution followed by its batch norm and ReLU."""
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]


def init_kaiming(module: nn.Module) -> None:
    """Draw every convolution's weights as FastDVDnet does: normal, He 2015, fan-in."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
