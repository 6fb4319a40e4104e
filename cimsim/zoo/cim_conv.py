"""CIM-CONV: one matrix product per patch that writes a whole block of output pixels."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import nn

from cimsim.zoo.errors import ZooError

MARGIN = 2  # of a patch: one pixel on every side of the block that it writes


def default_kernel(stride: int) -> int:
    """Return the kernel edge: 3 for strides 1 and 2, else ``stride + 2``.

    The patch covers the whole block it writes plus one pixel on every side; with padding 1 the
    output of a stride that divides the input has exactly ``H / stride`` windows.
    """
    return 3 if stride in (1, 2) else stride + MARGIN


class CIMConv(nn.Module):
    """Unfold patches, map each by one matrix to a block of pixels, lay the blocks side by side.

    Pad by 1, take ``kernel x kernel`` patches with ``stride``, multiply each
    ``kernel^2 * c_in`` vector with one matrix of ``c_out * block^2`` columns, add the bias, apply
    ReLU, and write the result as a ``c_out x block x block`` block. That equals a strided
    convolution followed by a pixel shuffle, which is how it is computed.

    Parameters
    ----------
    c_in, c_out : int
        Channels of the input map and of the output map.
    stride : int
        Distance between patches, S.
    block : int
        Edge of the block a patch writes, r * S: the output map is ``block / stride`` times as
        large as the input map.
    kernel : int, optional
        Edge of the patch; see `default_kernel`.
    norm : bool
        Whether a batch norm stands between the matrix and the ReLU. It folds into the matrix, so
        the chip never sees it; without it large patches lose their ReLUs in training.
    activation : bool
        Whether a ReLU follows.

    References
    ----------
    CIM-NET, section III: the CIM-CONV operator (FC + ReLU on patches).
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        stride: int,
        block: int,
        kernel: int | None = None,
        norm: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("stride", stride), ("block", block)):
            if not isinstance(value, int) or value < 1:
                raise ZooError(
                    f"CIM-CONV {name}: expected a positive integer, got {value!r}; "
                    "block = scale * stride must be whole, give another scale or stride"
                )
        kernel = default_kernel(stride) if kernel is None else kernel
        self.stride = stride
        self.block = block
        n_columns = c_out * block**2
        self.fc = nn.Conv2d(c_in, n_columns, kernel, stride=stride, padding=1, bias=not norm)
        self.norm: nn.Module = nn.BatchNorm2d(n_columns) if norm else nn.Identity()
        self.act: nn.Module = nn.ReLU() if activation else nn.Identity()
        self.to_pixels: nn.Module = nn.PixelShuffle(block) if block > 1 else nn.Identity()

    @property
    def scale(self) -> Fraction:
        """Output edge over input edge, r."""
        return Fraction(self.block, self.stride)

    @classmethod
    def scaled(
        cls, c_in: int, c_out: int, *, stride: int, scale: Fraction | int, activation: bool = True
    ) -> CIMConv:
        """Build from the paper's (stride S, scale r) instead of the block edge."""
        block = Fraction(scale) * stride
        if block.denominator != 1 or block < 1:
            raise ZooError(
                f"CIM-CONV scale: {scale} times stride {stride} is {block}, which is no positive "
                f"integer; choose a multiple of 1/{stride}"
            )
        return cls(c_in, c_out, stride=stride, block=int(block), activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, c_in, H, W] to [B, c_out, H * r, W * r]."""
        return self.to_pixels(self.act(self.norm(self.fc(x))))
