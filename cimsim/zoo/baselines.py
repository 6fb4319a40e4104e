"""The steps between FastDVDnet's block and CIM-NET: baselines o1 and o2, and Abla-NET.

All three keep the block's widths and, unless asked otherwise, its residual (centre frame minus
prediction). The paper states neither for o1 and o2 at strides above 2, so both have them as
options: at large strides the last convolution draws a block of ``3 S^2`` values from ``inner``
channels, so what it can draw depends on them. An image needs few channels, noise needs as many as
it has values; with ``output="direct"`` the network draws the image. Otherwise only the input
differs: o1 and o2 read frame, map, frame, map, frame, map (12 channels, grouped by frame) as the
block does; Abla-NET's first CIM-CONV has no groups, so three equal maps would be one map with
three redundant rows: it reads three frames and one map (10 channels), as CIM-NET.
"""

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
from cimsim.zoo.cim_conv import CIMConv, default_kernel
from cimsim.zoo.cimnet import GREY
from cimsim.zoo.errors import ZooError
from cimsim.zoo.fastdvdnet import CvBlock, DownBlock, UpBlock

STRIDES = (2, 4, 8, 16)


def strided(c_in: int, c_out: int, stride: int, groups: int = 1) -> nn.Conv2d:
    """Return the convolution with the kernel and padding of a CIM-CONV of that stride."""
    kernel = default_kernel(stride)
    return nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=1, groups=groups, bias=False)


def last(c_in: int, stride: int, output: str) -> list[nn.Module]:
    """Return the convolution that writes blocks of three colours, and the pixel shuffle.

    A direct output has a bias, which begins as middle grey; see `settle`.
    """
    direct = output == "direct"
    return [nn.Conv2d(c_in, 3 * stride**2, 3, padding=1, bias=direct), to_pixels(stride)]


def settle(network: nn.Module, convolution: nn.Module) -> None:
    """Draw the start of a network with `last` at its end."""
    init_kaiming(network)
    if isinstance(convolution, nn.Conv2d) and convolution.bias is not None:
        nn.init.constant_(convolution.bias, GREY)


def to_pixels(stride: int) -> nn.Module:
    """Return the pixel shuffle by ``stride``, nothing for 1."""
    return nn.PixelShuffle(stride) if stride > 1 else nn.Identity()


def check_stride(name: str, stride: int) -> None:
    """Raise when ``stride`` is none that the networks are defined for."""
    if stride not in STRIDES:
        raise ZooError(f"{name} stride: expected one of {STRIDES}, got {stride!r}")


class BaselineO1(AbstractDenoiser):
    """The block with a large stride in its first convolution and a pixel shuffle at its end.

    Every layer runs on maps S times smaller than in the block: ``5.875 H*W / S^2`` windows.

    Parameters
    ----------
    stride : int
        S: 2, 4, 8 or 16.
    inner : int
        Channels between the last two convolutions.
    output : str
        ``residual``: what the network draws is subtracted from the centre frame; ``direct``: it is
        the estimate.
    """

    n_frames = 3

    def __init__(
        self,
        stride: int = 8,
        width: int = 32,
        per_frame: int = 30,
        inner: int = 32,
        output: str = "residual",
    ) -> None:
        super().__init__()
        check_stride("baseline-o1", stride)
        self.stride, self.output = stride, output
        self.multiple = 4 * stride
        hidden = self.n_frames * per_frame
        self.inc = nn.Sequential(
            *conv_bn_relu(strided(4 * self.n_frames, hidden, stride, groups=self.n_frames)),
            *conv_bn_relu(conv3x3(hidden, width)),
        )
        self.downc0 = DownBlock(width, 2 * width)
        self.downc1 = DownBlock(2 * width, 4 * width)
        self.upc2 = UpBlock(4 * width, 2 * width)
        self.upc1 = UpBlock(2 * width, width)
        self.outc = nn.Sequential(
            *conv_bn_relu(conv3x3(width, inner)), *last(inner, stride, output)
        )
        settle(self, self.outc[-2])

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 4 S."""
        top = self.inc(interleave(frames, noise_map))
        half = self.downc0(top)
        half = half + self.upc2(self.downc1(half))
        drawn: torch.Tensor = self.outc(top + self.upc1(half))
        return drawn if self.output == "direct" else frame(frames, 1) - drawn


class Trunk(nn.Module):
    """What o2 and Abla-NET share between their smoothing modules: the down and the up path.

    A stride-S convolution, two levels of the block, and back to full size by a pixel shuffle by
    S: ``(6 + 6/4) H*W / S^2`` windows.
    """

    def __init__(self, stride: int, width: int) -> None:
        super().__init__()
        self.down1 = nn.Sequential(
            *conv_bn_relu(strided(width, 2 * width, stride)), CvBlock(2 * width, 2 * width)
        )
        self.down2 = DownBlock(2 * width, 4 * width)
        self.up2 = UpBlock(4 * width, 2 * width)
        self.up1 = nn.Sequential(
            CvBlock(2 * width, 2 * width),
            conv3x3(2 * width, width * stride**2),
            to_pixels(stride),
        )

    def forward(self, full: torch.Tensor) -> torch.Tensor:
        """Map [B, width, H, W] to a map of the same shape."""
        coarse = self.down1(full)
        coarse = coarse + self.up2(self.down2(coarse))
        return self.up1(coarse)


class BaselineO2(AbstractDenoiser):
    """o1's idea with full-size skips: smoothing modules before and after the strided paths.

    A smoothing module is a stride-S convolution, a convolution to C * S^2 channels and a pixel
    shuffle by S: ``11.5 H*W / S^2`` windows in all. At S = 2 the smoothing stride is 1
    and the network has the block's shape (paper, section IV-B).

    Parameters
    ----------
    stride : int
        S: 2, 4, 8 or 16.
    per_frame, inner : int
        Channels for each frame inside the first smoothing module, and between the two convolutions
        of the last one. The paper does not state them; 30 and 32 are those of the block. A
        predicted noise of a block of ``3 S^2`` values has ``inner`` degrees of freedom, so of
        white noise at least the share ``1 - inner / (3 S^2)`` stays: at S = 8 the 32 allow 0.8 dB.
        A clean block asks for far fewer.
    output : str
        As for `BaselineO1`.
    inner_skip : str
        ``none``, or ``add``: the input of a smoothing module is added to its output, the 12
        channels to the first 12, and channels 4 to 6, where the centre frame is, to the result.
    """

    n_frames = 3

    def __init__(
        self,
        stride: int = 8,
        width: int = 32,
        per_frame: int = 30,
        inner: int = 32,
        output: str = "residual",
        inner_skip: str = "none",
    ) -> None:
        super().__init__()
        check_stride("baseline-o2", stride)
        self.stride, self.output, self.inner_skip = stride, output, inner_skip
        self.multiple = 2 * stride
        smooth = 1 if stride == 2 else stride
        hidden = self.n_frames * per_frame
        self.smooth_in = nn.Sequential(
            *conv_bn_relu(strided(4 * self.n_frames, hidden, smooth, groups=self.n_frames)),
            *conv_bn_relu(conv3x3(hidden, width * smooth**2)),
            to_pixels(smooth),
        )
        self.trunk = Trunk(stride, width)
        self.smooth_out = nn.Sequential(
            *conv_bn_relu(strided(width, inner, smooth)), *last(inner, smooth, output)
        )
        settle(self, self.smooth_out[-2])

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 2 S."""
        given = interleave(frames, noise_map)
        full = self.smooth_in(given)
        if self.inner_skip == "add":
            n = given.shape[1]
            full = torch.cat([full[:, :n] + given, full[:, n:]], dim=1)
        full = full + self.trunk(full)
        drawn: torch.Tensor = self.smooth_out(full)
        if self.inner_skip == "add":
            drawn = drawn + full[:, 4:7]
        return drawn if self.output == "direct" else frame(frames, 1) - drawn


class AblaNet(AbstractDenoiser):
    """o2 with CIM-CONVs as smoothing modules: one matrix each instead of two convolutions.

    ``9.5 H*W / S^2`` windows, as CIM-NET; the strided paths are still convolutions.

    Parameters
    ----------
    stride : int
        S: 2, 4, 8 or 16.
    """

    n_frames = 3

    def __init__(self, stride: int = 8, width: int = 32) -> None:
        super().__init__()
        check_stride("abla-net", stride)
        self.stride = stride
        self.multiple = 2 * stride
        smooth = 1 if stride == 2 else stride
        self.smooth_in = CIMConv(3 * self.n_frames + 1, width, stride=smooth, block=smooth)
        self.trunk = Trunk(stride, width)
        self.smooth_out = CIMConv(width, 3, stride=smooth, block=smooth, activation=False)
        init_kaiming(self)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 2 S."""
        full = self.smooth_in(torch.cat([frames, noise_map], dim=1))
        full = full + self.trunk(full)
        return frame(frames, 1) - self.smooth_out(full)
