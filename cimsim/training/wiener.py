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
from torch.nn import functional

from cimsim.errors import ConfigError
from cimsim.training.data import Dataset, Sampler
from cimsim.zoo.cimnet import CIMBlock, CIMNet

N_PATCHES = 50_000
RIDGE = 1e-4  # of the mean diagonal of X^T X
HIDDEN = 0.5  # scale of what the up path adds to channels that carry no image
QUIET = 0.02  # size of the random weights that meet the image, against He's


@dataclass(frozen=True, slots=True)
class PatchFit:
    """The linear least-squares map from noisy patches to clean blocks.

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
        x[:, :-1] = noisy.reshape(per_batch, -1).numpy()
        y = clean[..., inside, inside].reshape(per_batch, -1).double().numpy()
        gram += x.T @ x
        cross += x.T @ y
    gram[np.diag_indices(n_inputs - 1)] += RIDGE * np.trace(gram) / n_inputs
    solution = np.linalg.solve(gram, cross)
    return PatchFit(solution[:-1].T, solution[-1])


def start(
    model: CIMNet,
    dataset: Dataset,
    *,
    sigma: float,
    seed: int,
    copies: int = 4,
) -> None:
    """Write the patch denoiser into a one-stage CIM-NET, in place.

    Every colour of the linear estimate is written into ``copies`` channels: independent
    programming errors of the copies average out, and no single weight has to be large. The last
    layer averages them; everything else starts random, quiet where it meets the image.

    Parameters
    ----------
    model : CIMNet
        One stage; its other weights stay random, those that reach the full-size map get small.
    dataset : Dataset
    sigma : float
        Noise in 8-bit steps.
    seed : int
    copies : int
        1 to 10: channels per colour.

    Raises
    ------
    ConfigError
        When the network has two stages or ``copies`` does not fit.
    """
    if model.stages != 1:
        raise ConfigError(f"wiener start: needs a cimnet with stages=1, got {model.stages}")
    block = model.block1
    first, last = block.smooth_in.fc, block.smooth_out.fc
    width = last.in_channels
    if not 1 <= copies <= width // 3:
        raise ConfigError(f"wiener copies: expected 1 to {width // 3}, got {copies}")
    edge, kernel = block.smooth_in.block, int(first.kernel_size[0])
    fit = fit_patches(dataset, kernel=kernel, block=edge, sigma=sigma, seed=seed)
    with torch.no_grad():
        gain = block.up1.norm.weight
        gain[:] = HIDDEN  # type: ignore[index]
        gain[: 3 * copies * edge**2] = QUIET / 2  # type: ignore[index]
        block.smooth_out.fc.weight *= QUIET
        _fill(first, 0, np.tile(fit.weight, (copies, 1)), np.tile(fit.bias, copies))
        for colour in range(3):
            for y in range(edge):
                for x in range(edge):
                    row = (colour * edge + y) * edge + x
                    last.weight[row, colour : 3 * copies : 3, y + 1, x + 1] = 1 / copies


def _fill(
    first: torch.nn.Conv2d, row: int, weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> None:
    """Write rows [n, 9 * K^2] and biases [n] into the first layer from ``row`` on, as fit."""
    n_rows = min(len(bias), first.out_channels - row)
    kernel = first.kernel_size[0]
    taps = torch.from_numpy(weight[:n_rows]).reshape(-1, 9, kernel, kernel).float()
    first.weight[row : row + n_rows] = torch.cat([taps, torch.zeros_like(taps[:, :1])], dim=1)
    first.bias[row : row + n_rows] = torch.from_numpy(bias[:n_rows]).float()  # type: ignore[index]
