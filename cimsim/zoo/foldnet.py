"""Fold-NET: a small convolutional denoiser, written out as matrices for whole blocks of pixels.

A crossbar multiplies one large matrix per activation, of which a small convolution fills a corner.
A CIM-CONV whose patch covers its block with a margin of one pixel contains every 3 x 3 convolution
exactly: its matrix is that convolution written out for all pixels of the block. So an ordinary
network, whose positions share their weights and which some thousand crops teach, becomes a chain
of CIM-CONVs: the same function at ``1 / S^2`` of the windows (`write_out`). With its widths, blocks
of 8 x 8 pixels fill the rows of arrays that have 1024.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from cimsim.zoo._frames import AbstractDenoiser, frame, init_kaiming
from cimsim.zoo.errors import ZooError

STRIDES = (2, 4, 8, 16)
# Channels at half (for each tile of rows), quarter and eighth size. The patch of a block of 8 x 8
# pixels has 6 x 6, 4 x 4 and 3 x 3 positions there, so these fill 1008, 1024 and 1008 of 1024 rows.
WIDTHS = (28, 64, 112)
SHALLOWEST = 2  # convolutions at half size
RAW = 12  # values of 2 x 2 pixels of a frame
KEPT = 0.6  # of the noisy frame, digitally; what else of it reaches the output passes `direct`
EPSILON = 1e-5  # of torch's batch norm
# Subtracted from frames that a layer reads: inputs of both signs around zero halve what errors of
# analog weights do to the picture.
GREY = 0.5


class FoldConv(nn.Module):
    """A convolution for a block of positions at once: one matrix, batch norm, ReLU, pixel shuffle.

    With ``fold`` = ``step`` it is the plain convolution (kernel 3 and step 1, or kernel 4 and step
    2; padding 1). With a larger ``fold`` one window stands for ``fold x fold`` input pixels: the
    patch has an edge of ``fold + 2`` and writes a block of ``fold / step * up``.

    Parameters
    ----------
    c_in, c_out : int
        Channels of the map that comes in, and of the one that goes out.
    step : int
        Stride of the plain convolution: 1 or 2.
    up : int
        Edge of the pixel shuffle behind the plain convolution; 1: none.
    fold : int
        Distance between windows, a multiple of ``step``.
    activation : bool
        Whether batch norm and ReLU follow; else a bias.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        step: int = 1,
        up: int = 1,
        fold: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.step, self.up, self.fold = step, up, fold
        block = fold // step * up
        columns = c_out * block**2
        self.conv = nn.Conv2d(
            c_in, columns, fold + 2, stride=fold, padding=1, bias=not activation
        )  # fmt: skip
        self.norm: nn.Module = nn.BatchNorm2d(columns) if activation else nn.Identity()
        self.act: nn.Module = nn.ReLU() if activation else nn.Identity()
        self.to_pixels: nn.Module = nn.PixelShuffle(block) if block > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, c_in, H, W] to [B, c_out, H / step * up, W / step * up]."""
        return self.to_pixels(self.act(self.norm(self.conv(x))))


def write_out(values: torch.Tensor, *, step: int, up: int, fold: int) -> torch.Tensor:
    """Write a tensor of a plain `FoldConv` out for blocks of ``fold x fold`` input pixels.

    Parameters
    ----------
    values : Tensor [c_out * up^2, c_in, step + 2, step + 2] or [c_out * up^2]
        A kernel, or what a bias or batch norm has for each of its outputs.
    step, up, fold : int
        As for `FoldConv`.

    Returns
    -------
    Tensor [c_out * block^2, c_in, fold + 2, fold + 2] or [c_out * block^2]
        ``block`` is ``fold / step * up``. Pixel ``(y, x)`` of the block has the kernel of sub-pixel
        ``(y % up, x % up)``, moved by ``(y // up, x // up)`` steps; all other elements are zero.
    """
    positions = fold // step
    block = positions * up
    c_out = len(values) // up**2
    parts = values.reshape(c_out, up, up, *values.shape[1:])
    if values.dim() == 1:
        return parts.repeat(1, positions, positions).reshape(-1)
    c_in, kernel = values.shape[1], step + 2
    out = values.new_zeros(c_out, block, block, c_in, fold + 2, fold + 2)
    for y in range(positions):
        for x in range(positions):
            place = out[:, y * up : (y + 1) * up, x * up : (x + 1) * up]
            place[..., y * step : y * step + kernel, x * step : x * step + kernel] = parts
    return out.reshape(c_out * block**2, c_in, fold + 2, fold + 2)


class FoldNet(AbstractDenoiser):
    """Three frames and one noise map (10 channels) to the centre frame, by its residual.

    A chain of 3 x 3 convolutions at half size, whose windows stand for ``S x S`` pixels: there are
    ``H*W / S^2`` of each. With ``levels`` of 2 and 3 it is a U-Net with additions at half and
    quarter size (layers at eighth size have ``H*W / 64`` windows at S < 8). S = 2 is the network as
    convolutions, the one to train; its weight file serves every S.

    What the network subtracts is mostly noise, of which each pixel has its own, and features of few
    channels cannot carry it through a ReLU: ``direct`` filters the noisy frame beside them. It is a
    matrix of its own, since its weights are several times as large as those of the features: in one
    array they would set the scale of both, and the small ones would drown in the cells' noise. For
    the same reason a share of the frame is kept digitally.

    Parameters
    ----------
    stride : int
        S: edge of the block of full-size pixels that one window stands for, 2, 4, 8 or 16.
    tiles : int
        At half size there are 28 channels times this, 64 at quarter and 112 at eighth size.
    levels : int
        1: half size alone; 2: quarter size as well; 3: eighth size, too.
    depth : int
        Convolutions at half size between the first layer and the last one, 2 or more.
    """

    n_frames = 3

    def __init__(self, stride: int = 8, tiles: int = 1, levels: int = 1, depth: int = 2) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise ZooError(f"foldnet stride: expected one of {STRIDES}, got {stride!r}")
        if levels not in (1, 2, 3):
            raise ZooError(f"foldnet levels: expected 1, 2 or 3, got {levels!r}")
        if depth < SHALLOWEST:
            raise ZooError(f"foldnet depth: expected {SHALLOWEST} or more, got {depth!r}")
        self.stride, self.tiles, self.levels, self.depth = stride, tiles, levels, depth
        self.multiple = max(2**levels, stride)
        half, quarter, eighth = tiles * WIDTHS[0], WIDTHS[1], WIDTHS[2]
        c_in = 3 * self.n_frames + 1
        # how many positions along an edge a window stands for at each size, at least one
        at_half, at_quarter, at_eighth = (max(1, stride // size) for size in (2, 4, 8))
        self.read = FoldConv(c_in, half, step=2, fold=max(2, stride))
        self.half1 = FoldConv(half, half, fold=at_half)
        self.between = _chain(half, depth - SHALLOWEST, at_half)
        if levels > 1:
            self.down1 = FoldConv(half, quarter, step=2, fold=max(2, at_half))
            self.quarter1 = _chain(quarter, 2, at_quarter)
        if levels > 2:
            self.down2 = FoldConv(quarter, eighth, step=2, fold=max(2, at_quarter))
            self.eighth = _chain(eighth, 4, at_eighth)
            self.up2 = FoldConv(eighth, quarter, up=2, fold=at_eighth)
        if levels > 1:
            self.quarter2 = _chain(quarter, 2, at_quarter)
            self.up1 = FoldConv(quarter, half, up=2, fold=at_quarter)
        self.half2 = FoldConv(half, half, fold=at_half)
        self.raw = nn.PixelUnshuffle(2)
        self.direct = FoldConv(RAW, 3, up=2, fold=at_half, activation=False)
        self.write = FoldConv(half, 3, up=2, fold=at_half, activation=False)
        init_kaiming(self)

    def estimate(self, frames: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Map [B, 9, H, W] and [B, 1, H, W] to [B, 3, H, W], H and W multiples of `multiple`."""
        half = self.between(self.half1(self.read(torch.cat([frames - GREY, noise_map], dim=1))))
        if self.levels > 1:
            quarter = self.quarter1(self.down1(half))
            if self.levels > 2:
                quarter = quarter + self.up2(self.eighth(self.down2(quarter)))
            half = half + self.up1(self.quarter2(quarter))
        noisy = frame(frames, 1)
        subtracted = self.write(self.half2(half)) + self.direct(self.raw(noisy - GREY))
        return KEPT * noisy - subtracted

    def grown(
        self, state: Mapping[str, torch.Tensor], spread: float = 0.3, seed: int = 0
    ) -> dict[str, torch.Tensor] | None:
        """Return a start for this network from the tensors of a smaller one, as convolutions.

        Width: every channel becomes ``k`` equal ones, and each of the ``k`` copies that a layer
        reads has the share ``1 / k`` of its weight, so both networks compute the same. The shares
        are then drawn apart, without changing their sum: copies of one channel stay equal for now
        but are read differently, and training can tell them apart. Depth: layers that are new hand
        on what they read, which no ReLU changes. Levels that this network has not got are left out;
        only that changes what is computed.

        Parameters
        ----------
        state : mapping
            Of a network of S = 2, with fewer ``tiles`` (their ratio must be whole), less ``depth``
            or more ``levels``.
        spread : float
            Standard deviation of the shares of one weight, times ``k``.
        seed : int

        Returns
        -------
        dict of str to Tensor, or None
            Of the network of S = 2; None where nothing is to be grown, or where the tensors are
            not those of convolutions.

        Raises
        ------
        ZooError
            When the widths are no multiples of those in ``state``.

        References
        ----------
        T. Chen, I. Goodfellow, J. Shlens: Net2Net, ICLR 2016, section 2.
        """
        with torch.device("meta"):
            plain = FoldNet(STRIDES[0], self.tiles, self.levels, self.depth)
        wanted = {
            name: tensor.shape
            for name, tensor in plain.state_dict().items()
            if name in state or not name.endswith("num_batches_tracked")  # files leave it out
        }
        known = {name: tensor for name, tensor in state.items() if name in wanted}
        lacking = wanted.keys() - known.keys()
        if any(t.shape[2:] != wanted[name][2:] for name, t in known.items()) or not all(
            name.startswith("between.") for name in lacking
        ):
            return None
        narrow = any(tensor.shape != wanted[name] for name, tensor in known.items())
        if not narrow and not lacking and len(known) == len(state):
            return None
        generator = torch.Generator().manual_seed(seed)
        out: dict[str, torch.Tensor] = {}
        for name, shape in wanted.items():
            if name in known:
                # files hold half precision, in which shares do not add up
                out[name] = plain._widened(name, known[name].float(), shape, generator, spread)
            else:
                out[name] = _handing_on(name, shape)
        return out

    def _widened(
        self,
        name: str,
        tensor: torch.Tensor,
        wanted: torch.Size,
        generator: torch.Generator,
        spread: float,
    ) -> torch.Tensor:
        """Return one tensor of `grown`."""
        if tensor.shape == wanted:
            return tensor
        pairs = zip((*wanted, 1)[:2], (*tensor.shape, 1)[:2], strict=True)
        copies, rest = zip(*(divmod(want, have) for want, have in pairs), strict=True)
        if any(rest) or 0 in copies:
            raise ZooError(
                f"foldnet: {name}: {tuple(tensor.shape)} cannot be widened to {tuple(wanted)}; the "
                "tiles of one must be a multiple of the other's"
            )
        if copies[1] > 1:
            noise = torch.randn(copies[1], *tensor.shape, generator=generator)
            noise -= noise.mean(0)
            shares = (1 + spread * noise.to(tensor)) / copies[1]
            tensor = torch.cat([tensor * share for share in shares], dim=1)
        if copies[0] > 1:  # sub-pixels of one channel stay together
            parts = tensor.reshape(-1, self._sub_pixels(name), *tensor.shape[1:])
            tensor = parts.repeat(copies[0], *(1 for _ in parts.shape[1:])).flatten(0, 1)
        return tensor

    def _sub_pixels(self, name: str) -> int:
        """Return how many columns of a layer belong to one channel."""
        part = self.get_submodule(name.split(".conv.")[0].split(".norm.")[0])
        assert isinstance(part, FoldConv)
        return (part.fold // part.step * part.up) ** 2

    def adapted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a state dict for this S; tensors of the network at S = 2 are written out."""
        out = dict(state)
        for name, part in self.named_modules():
            if not isinstance(part, FoldConv):
                continue
            key = f"{name}.conv.weight"
            plain = part.step + 2
            if part.fold == part.step or key not in out or out[key].shape[-1] != plain:
                continue
            for own in part.state_dict():
                tensor = out.get(f"{name}.{own}")
                if tensor is not None and tensor.dim() > 0:
                    out[f"{name}.{own}"] = write_out(
                        tensor, step=part.step, up=part.up, fold=part.fold
                    )
        return out


def _chain(width: int, count: int, fold: int) -> nn.Sequential:
    """Return ``count`` layers of equal width."""
    return nn.Sequential(*(FoldConv(width, width, fold=fold) for _ in range(count)))


def _handing_on(name: str, shape: torch.Size) -> torch.Tensor:
    """Return a tensor of a layer whose output is its input, where that is not negative."""
    part = name.rsplit(".", 1)[1]
    if name.endswith("conv.weight"):
        out = torch.zeros(shape)
        out[range(shape[0]), range(shape[0]), 1, 1] = 1.0
        return out
    if part == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.long)
    # batch norm divides by the root of the variance plus its epsilon
    return {
        "weight": torch.ones(shape),
        "bias": torch.zeros(shape),
        "running_mean": torch.zeros(shape),
        "running_var": torch.full(shape, 1 - EPSILON),
    }[part]
