"""A closed-form start for CIM-NET: the best linear denoiser of patches, written into its ends.

CIM-NET's first CIM-CONV sees the noisy K x K patches of three frames and writes S x S blocks, so
the linear least-squares map from noisy patches to the clean block fits into three of its output
channels; the last CIM-CONV can hand those channels on. The network then starts at the quality
of a Wiener filter instead of far below the noisy input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cimsim.errors import ConfigError
from cimsim.training.data import Dataset, Sampler
from cimsim.training.tied import random_kernels
from cimsim.zoo.cimnet import GREY, CIMNet

N_PATCHES = 50_000
RIDGE = 1e-4  # of the mean diagonal of X^T X
HIDDEN = 0.1  # scale of what the up path adds to channels that carry no image
FILTER = 0.5  # root of the summed squares of a random filter's taps
QUIET = 0.01  # size of the random weights that meet the image, against He's


@dataclass(frozen=True, slots=True)
class PatchFit:
    """The linear least-squares map from noisy patches to clean blocks, grey subtracted in both.

    Attributes
    ----------
    weight : ndarray [3 * block^2, 9 * kernel^2]
        Rows: colour, y, x of the block. Columns: channel, y, x of the patch.
    bias : ndarray [3 * block^2]
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]


def fit_patches(dataset: Dataset, *, kernel: int, block: int, sigma: float, seed: int) -> PatchFit:
    """Fit the linear map from noisy patches of three frames to the clean block in their centre.

    Parameters
    ----------
    dataset : Dataset
    kernel, block : int
        Edges of the patch and of the block; the block starts one pixel inside the patch.
    sigma : float
        Noise in 8-bit steps.
    seed : int
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
        y = clean[..., inside, inside].reshape(per_batch, -1).double().numpy() - GREY
        gram += x.T @ x
        cross += x.T @ y
    gram[np.diag_indices(n_inputs - 1)] += RIDGE * np.trace(gram) / n_inputs
    solution = np.linalg.solve(gram, cross)
    return PatchFit(solution[:-1].T.astype(np.float64), solution[-1].astype(np.float64))


def start(model: CIMNet, dataset: Dataset, *, sigma: float, seed: int, copies: int = 4) -> None:
    """Write the linear denoiser into a one-stage CIM-NET, in place.

    The estimate, grey subtracted, is handed through by pairs of channels that hold its positive
    and its negative part, ``copies`` pairs per colour, which the last layer averages. Independent
    programming errors of the copies average out, no single weight has to be large, and the
    errors of the last layer act on small values. All else starts random, quiet where it meets
    the image.

    Parameters
    ----------
    model : CIMNet
        One stage.
    dataset : Dataset
    sigma : float
        Noise in 8-bit steps.
    seed : int
    copies : int
        1 to 5: pairs of channels per colour.

    Raises
    ------
    ConfigError
        When the network has two stages or ``copies`` does not fit.
    """
    if model.stages != 1:
        raise ConfigError(f"wiener start: needs a cimnet with stages=1, got {model.stages}")
    block = model.block1
    first, last = block.smooth_in.fc, block.smooth_out.fc
    most = last.in_channels // 6
    if not 1 <= copies <= most:
        raise ConfigError(f"wiener copies: expected 1 to {most}, got {copies}")
    edge, kernel = block.smooth_in.block, int(first.kernel_size[0])
    fit = fit_patches(dataset, kernel=kernel, block=edge, sigma=sigma, seed=seed)
    taps = torch.from_numpy(fit.weight).reshape(-1, 9, kernel, kernel).float()
    bias = torch.from_numpy(fit.bias).float()
    n_image = 6 * copies
    with torch.no_grad():
        gain = block.up1.norm.get_parameter("weight")
        gain[:] = HIDDEN
        gain[: n_image * edge**2] = HIDDEN / 10
        last.weight *= QUIET
        first.weight[: n_image * edge**2, :9] = torch.cat([taps, -taps]).repeat(copies, 1, 1, 1)
        first.weight[: n_image * edge**2, 9] = 0
        first.bias[: n_image * edge**2] = torch.cat([bias, -bias]).repeat(copies)  # type: ignore[index]
        if edge > 1:
            free = first.out_channels // edge**2 - n_image
            first.weight[n_image * edge**2 :] = random_kernels(block.smooth_in, free, FILTER)
        for colour in range(3):
            for y in range(edge):
                for x in range(edge):
                    row = (colour * edge + y) * edge + x
                    last.weight[row, colour:n_image:6, y + 1, x + 1] = 1 / copies
                    last.weight[row, colour + 3 : n_image : 6, y + 1, x + 1] = -1 / copies
