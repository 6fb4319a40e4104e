"""CIM-NET: a video denoiser whose few, large matrices suit computing-in-memory arrays.

`Reading` names what the paper's figure 7 and text leave open, and what was tried to make the coarse
path of a large stride work; its defaults are the network as the paper draws it. The zoo's `cimnet`
has no coarse path from S = 8 on unless one is asked for (docs/paper.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict, Unpack

import torch
from torch import nn

from cimsim.zoo._frames import AbstractDenoiser, conv3x3, conv_bn_relu, frame, init_kaiming
from cimsim.zoo.cim_conv import MARGIN, CIMConv, default_kernel
from cimsim.zoo.errors import ZooError
from cimsim.zoo.foldnet import write_out

STRIDES = (2, 4, 8, 16)
WIDTHS = (32, 64, 128)
ALLOWED = {
    "skip": ("add", "none", "neither", "concat"),
    "residual": ("none", "frame"),
    "smoothing": ("matrix", "conv"),
}
log = logging.getLogger(__name__)
# Subtracted from the frames: inputs of both signs around zero halve what errors of analog weights
# do to the picture. The last layer's bias puts it back.
GREY = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a CIM-NET block.

    Attributes
    ----------
    skip : str
        What meets the coarse path at full size and at 1/S. ``add``: the map from before it is
        added, as figure 7 is read here. ``none``: not at full size, so the coarse path is the only
        way; ``neither``: not at 1/S either, which is "eliminate residual connections" taken to its
        end. ``concat``: at full size both maps go on side by side, each with weights of its own.
    residual : str
        ``none``: the block estimates the clean frame, which is how "eliminate residual connections"
        is read here; ``frame``: its output is subtracted from the centre frame, as in FastDVDnet.
    coarse : int
        Widths of the coarse path: as many times 64 and 128 channels; 0: there is none, the two
        smoothing modules are the network, as in the zoo's `cimnet` from S = 8 on.
    smoothing : str
        ``matrix``: a window of a smoothing module writes S x S pixels. ``conv``: they are 3 x 3
        convolutions at full size, as the paper has them at S = 2 (section IV-B). A matrix contains
        such a convolution exactly, so weights of ``conv`` fit ``matrix`` and compute the same.
    before, behind : int
        Layers of the smoothing module before the coarse path, and behind the sum; one in the paper.
    """

    skip: str = "add"
    residual: str = "none"
    coarse: int = 1
    smoothing: str = "matrix"
    before: int = 1
    behind: int = 1

    def __post_init__(self) -> None:
        """Refuse what is no reading, and a network without any path."""
        for name, known in ALLOWED.items():
            value = getattr(self, name)
            if value not in known:
                raise ZooError(f"cimnet {name}: expected one of {known}, got {value!r}")
        for name, least in (("coarse", 0), ("before", 1), ("behind", 1)):
            value = getattr(self, name)
            if value < least:
                raise ZooError(f"cimnet {name}: expected {least} or more, got {value!r}")
        if self.coarse == 0 and self.skip != "add":
            raise ZooError(f"cimnet coarse: 0 leaves nothing for skip={self.skip}; take skip=add")


class Readings(TypedDict, total=False):
    """Fields of `Reading` by name."""

    skip: str
    residual: str
    coarse: int
    smoothing: str
    before: int
    behind: int


PAPER = Reading()
COARSE_PATH = ("down1", "encode", "down2", "middle", "up2", "decode", "up1")  # its modules


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
    reading : Reading

    References
    ----------
    CIM-NET, figure 7 and section III; widths as in FastDVDnet's block.
    """

    n_frames = 3

    def __init__(self, stride: int, reading: Reading = PAPER) -> None:
        super().__init__()
        self.multiple = 2 * stride
        self.reading = reading
        smooth = 1 if stride == 2 or reading.smoothing == "conv" else stride
        w0, w1, w2 = WIDTHS[0], WIDTHS[1] * reading.coarse, WIDTHS[2] * reading.coarse
        c_in = self.n_frames * 3 + 1
        c_sum = 2 * w0 if reading.skip == "concat" else w0
        self.smooth_in = CIMConv(c_in, w0, stride=smooth, block=smooth)
        self.more_in = smoothing(w0, w0, reading.before - 1, smooth)
        if reading.coarse:
            self.down1 = CIMConv(w0, w1, stride=stride, block=1, norm=True)
            self.encode = plain(w1, 2)
            self.down2 = CIMConv(w1, w2, stride=2, block=1, norm=True)
            self.middle = plain(w2, 4)
            self.up2 = CIMConv(w2, w1, stride=1, block=2, norm=True)
            self.decode = plain(w1, 2)
            self.up1 = CIMConv(w1, w0, stride=1, block=stride, norm=True)
        self.more_out = smoothing(c_sum, w0, reading.behind - 1, smooth)
        c_last = c_sum if reading.behind == 1 else w0
        self.smooth_out = CIMConv(c_last, 3, stride=smooth, block=smooth, activation=False)
        init_kaiming(self)
        if reading.residual == "none":
            nn.init.constant_(self.smooth_out.fc.bias, GREY)  # type: ignore[arg-type]

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W]; H and W multiples of 2 S."""
        full = self.smooth_in(torch.cat([frames - GREY, noise_map], dim=1))
        full = self.joined(self.more_in(full))
        written: torch.Tensor = self.smooth_out(self.more_out(full))
        return written if self.reading.residual == "none" else frame(frames, 1) - written

    def joined(self, full: torch.Tensor) -> torch.Tensor:
        """Return what the map at full size [B, C, H, W] becomes where the coarse path ends."""
        skip = self.reading.skip
        if not self.reading.coarse:
            return full
        coarse = self.encode(self.down1(full))
        below = self.up2(self.middle(self.down2(coarse)))
        coarse = self.up1(self.decode(below if skip == "neither" else coarse + below))
        if skip == "concat":
            return torch.cat([full, coarse], dim=1)
        return full + coarse if skip == "add" else coarse


def smoothing(c_in: int, c_out: int, n_layers: int, stride: int) -> nn.Sequential:
    """Return further layers of a smoothing module; the first one reads ``c_in`` channels."""
    pairs = pairwise((c_in, *[c_out] * n_layers))
    return nn.Sequential(*(CIMConv(a, b, stride=stride, block=stride, norm=True) for a, b in pairs))


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
    **reading
        Fields of `Reading`.
    """

    def __init__(self, stride: int = 8, stages: int = 1, **reading: Unpack[Readings]) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise ZooError(f"cimnet stride: expected one of {STRIDES}, got {stride!r}")
        if stages not in (1, 2):
            raise ZooError(f"cimnet stages: expected 1 or 2, got {stages!r}")
        self.stride = stride
        self.stages = stages
        self.multiple = 2 * stride
        self.n_frames = 3 if stages == 1 else 5
        self.reading = Reading(**reading)
        self.block1 = CIMBlock(stride, self.reading)
        if stages == 2:
            self.block2 = CIMBlock(stride, self.reading)

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

    def grown(
        self, state: Mapping[str, torch.Tensor], seed: int = 0
    ) -> dict[str, torch.Tensor] | None:
        """Return a start for a network without coarse path from the tensors of one that has it.

        What reaches the last layer over the coarse path is missing then; all else is the same.
        Weights of a smaller stride without coarse path need no growing: `adapted` writes them out.

        Parameters
        ----------
        state : mapping
        seed : int
            Nothing is drawn here.

        Returns
        -------
        dict of str to Tensor, or None
            None where there is nothing to leave out, or where the stride is another one.
        """
        down = state.get("block1.down1.fc.weight")
        if self.reading.coarse or down is None or down.shape[-1] != default_kernel(self.stride):
            return None
        return {name: tensor for name, tensor in state.items() if not _is_coarse(name)}

    def adapted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a state dict for this network; what stands for fewer pixels is written out.

        A smoothing CIM-CONV of block S > 1 takes the tensors of the 3 x 3 convolution of
        ``smoothing="conv"`` and computes the same. Without a coarse path it also takes those of a
        CIM-CONV whose block fits into its own: a window of S = 16 holds four windows of S = 8 with
        their margins. Outputs are the same wherever both networks pad a frame to the same size;
        else the last two blocks of the smaller one differ, at the lower and the right edge.
        """
        out, steps = dict(state), set[int]()
        for name, part in self.named_modules():
            weight = out.get(f"{name}.fc.weight")
            if not isinstance(part, CIMConv) or weight is None or weight.dim() != 4:
                continue
            fold, step = part.block, weight.shape[-1] - MARGIN
            if part.stride != fold or not 0 < step < fold or fold % step:
                continue
            if step > 1 and _has_coarse_path(state):  # whose map at 1 / S is another one at each S
                continue
            steps.add(step)
            for own in part.state_dict():
                tensor = out.get(f"{name}.{own}")
                if tensor is not None and tensor.dim() > 0:
                    out[f"{name}.{own}"] = write_out(tensor, step=step, up=step, fold=fold)
        for step in steps - {1}:
            log.warning("weights of stride %d are written out for stride %d", step, self.stride)
        return out


def _is_coarse(name: str) -> bool:
    """Tell whether a tensor of that name belongs to the coarse path of a block."""
    return any(part in COARSE_PATH for part in name.split(".")[1:2])


def _has_coarse_path(state: Mapping[str, torch.Tensor]) -> bool:
    return any(map(_is_coarse, state))
