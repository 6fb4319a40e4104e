"""A closed-form start for CIM-NET and Abla-NET: the best linear denoiser, written into their ends.

The first CIM-CONV sees the noisy K x K patches of three frames and writes S x S blocks, so the
linear least-squares map from noisy patches to the clean block (CIM-NET) or to its noise (Abla-NET,
which predicts that) fits into three of its output channels; the last CIM-CONV can hand those
channels on. The network then starts at the quality of a Wiener filter instead of far below the
noisy input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cimsim.errors import ConfigError
from cimsim.training.data import Dataset, Sampler
from cimsim.training.tied import random_kernels
from cimsim.zoo.baselines import AblaNet
from cimsim.zoo.cim_conv import CIMConv
from cimsim.zoo.cimnet import GREY, CIMNet

N_PATCHES = 50_000
RIDGE = 1e-4  # of the mean diagonal of X^T X
HIDDEN = 0.1  # scale of what the up path adds ...
IMAGE = 0.2  # ... and of that, to channels that carry the image
FILTER = 0.5  # root of the summed squares of a random filter's taps
QUIET = 0.01  # size of the random weights that meet the image, against He's


@dataclass(frozen=True, slots=True)
class PatchFit:
    """The linear least-squares map from noisy patches, grey subtracted, to blocks.

    Attributes
    ----------
    weight : ndarray [3 * block^2, 9 * kernel^2]
        Rows: colour, y, x of the block. Columns: channel, y, x of the patch.
    bias : ndarray [3 * block^2]
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]


def fit_patches(
    dataset: Dataset, *, kernel: int, block: int, sigma: float, seed: int, residual: bool = False
) -> PatchFit:
    """Fit the linear map from noisy patches of three frames to the block in their centre.

    Parameters
    ----------
    dataset : Dataset
    kernel, block : int
        Edges of the patch and of the block; the block starts one pixel inside the patch.
    sigma : float
        Noise in 8-bit steps.
    seed : int
    residual : bool
        Whether the block's noise is wanted instead of the clean block, grey subtracted.
    """
    per_batch = 1000
    sampler = Sampler(
        dataset,
        n_frames=3,
        crop=kernel,
        batch=per_batch,
        sigma=(sigma, sigma),
        stills=0.2,
        seed=seed,
    )
    n_inputs, n_outputs = 9 * kernel**2 + 1, 3 * block**2
    gram = np.zeros((n_inputs, n_inputs))
    cross = np.zeros((n_inputs, n_outputs))
    inside = slice(1, 1 + block)
    for index in range(N_PATCHES // per_batch):
        noisy, _, clean = sampler.draw(index)
        x = np.ones((per_batch, n_inputs))
        x[:, :-1] = noisy.reshape(per_batch, -1).numpy() - GREY
        wanted = noisy[:, 3:6] - clean if residual else clean - GREY
        y = wanted[..., inside, inside].reshape(per_batch, -1).double().numpy()
        gram += x.T @ x
        cross += x.T @ y
    gram[np.diag_indices(n_inputs - 1)] += RIDGE * np.trace(gram) / n_inputs
    solution = np.linalg.solve(gram, cross)
    return PatchFit(solution[:-1].T.astype(np.float64), solution[-1].astype(np.float64))


@dataclass(frozen=True, slots=True)
class Ends:
    """The layers of a network that the linear denoiser is written into."""

    first: CIMConv
    last: CIMConv
    residual: bool
    grey: float  # what the network itself subtracts from its input


def start(model: nn.Module, dataset: Dataset, *, sigma: float, seed: int, copies: int = 4) -> None:
    """Write the linear denoiser into a CIM-NET of one stage or an Abla-NET, in place.

    The estimate is handed through by pairs of channels that hold its positive and its negative
    part, ``copies`` pairs per colour, which the last layer averages. Independent programming
    errors of the copies average out, no single weight has to be large, and the errors of the last
    layer act on small values. All else starts random, quiet where it meets the image.

    Parameters
    ----------
    model : CIMNet or AblaNet
    dataset : Dataset
    sigma : float
        Noise in 8-bit steps.
    seed : int
    copies : int
        1 to 5: pairs of channels per colour.

    Raises
    ------
    ConfigError
        When the network is another, has two stages, or ``copies`` does not fit.
    """
    ends = ends_of(model, "wiener")
    first, last = ends.first.fc, ends.last.fc
    most = last.in_channels // 6
    if not 1 <= copies <= most:
        raise ConfigError(f"wiener copies: expected 1 to {most}, got {copies}")
    edge, kernel, n_image = ends.first.block, int(first.kernel_size[0]), 6 * copies
    fit = fit_patches(
        dataset, kernel=kernel, block=edge, sigma=sigma, seed=seed, residual=ends.residual
    )
    taps = torch.from_numpy(fit.weight).reshape(-1, 9, kernel, kernel).float()
    # the fit is for inputs with grey subtracted; the bias makes up for a network that does not
    bias = torch.from_numpy(fit.bias).float() - (GREY - ends.grey) * taps.sum(dim=(1, 2, 3))
    with torch.no_grad():
        quieten(model, n_image)
        last.weight *= QUIET
        rows = n_image * edge**2
        first.weight[:rows, :9] = torch.cat([taps, -taps]).repeat(copies, 1, 1, 1)
        first.weight[:rows, 9] = 0
        first.bias[:rows] = torch.cat([bias, -bias]).repeat(copies)  # type: ignore[index]
        if edge > 1:
            free = first.out_channels // edge**2 - n_image
            first.weight[rows:] = random_kernels(ends.first, free, FILTER)
        for colour in range(3):
            for y in range(edge):
                for x in range(edge):
                    row = (colour * edge + y) * edge + x
                    last.weight[row, colour:n_image:6, y + 1, x + 1] = 1 / copies
                    last.weight[row, colour + 3 : n_image : 6, y + 1, x + 1] = -1 / copies


def ends_of(model: nn.Module, start: str) -> Ends:
    """Return the ends of a network; `ConfigError` naming the ``start`` when it has none."""
    if isinstance(model, AblaNet):
        return Ends(model.smooth_in, model.smooth_out, residual=True, grey=0.0)
    if isinstance(model, CIMNet) and model.stages == 1:
        block, reading = model.block1, model.reading
        if (reading.skip, reading.before, reading.behind) != ("add", 1, 1):
            raise ConfigError(
                f"train: start {start}: the first layer's channels do not reach the last one as "
                f"they are with {reading}; take --init random"
            )
        residual = reading.residual == "frame"
        return Ends(block.smooth_in, block.smooth_out, residual=residual, grey=GREY)
    stages = f" with stages={model.stages}" if isinstance(model, CIMNet) else ""
    raise ConfigError(
        f"train: start {start}: only for cimnet with stages=1 and abla-net, not for "
        f"{type(model).__name__}{stages}; take --init random"
    )


def quieten(model: nn.Module, n_image: int) -> None:
    """Let the coarse path add little, least to the first ``n_image`` channels."""
    if isinstance(model, AblaNet):
        convs = [part for part in model.trunk.up1.modules() if isinstance(part, nn.Conv2d)]
        weight, edge = convs[-1].weight, model.stride
    else:
        block = cast(CIMNet, model).block1
        if not block.reading.coarse:
            return
        weight, edge = block.up1.norm.get_parameter("weight"), block.up1.block
    weight *= HIDDEN
    weight[: n_image * edge**2] *= IMAGE
