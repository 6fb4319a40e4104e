"""A closed-form start for CIM-NET: the best linear denoiser of patches, written into its ends.

CIM-NET's first CIM-CONV sees the noisy K x K patches of three frames and writes S x S blocks, so
the linear least-squares map from noisy patches to the clean block fits into three of its output
channels; the last CIM-CONV can hand those channels on. The network then starts at the quality
of a Wiener filter instead of far below the noisy input.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from cimsim.errors import ConfigError
from cimsim.training.data import Dataset, Sampler
from cimsim.zoo.cimnet import CIMBlock, CIMNet

N_PATCHES = 50_000
RIDGE = 1e-4  # of the mean diagonal of X^T X
QUIET = 0.002  # size of the random weights that meet the image, against He's


def fit_patches(
    dataset: Dataset, *, kernel: int, block: int, sigma: float, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit the linear map from noisy patches of three frames to the clean block in their centre.

    Parameters
    ----------
    dataset : Dataset
    kernel, block : int
        Edges of the patch and of the block; the block starts one pixel inside the patch.
    sigma : float
        Noise in 8-bit steps.
    seed : int

    Returns
    -------
    weight : ndarray [3 * block^2, 9 * kernel^2]
        Rows: colour, y, x of the block. Columns: channel, y, x of the patch.
    bias : ndarray [3 * block^2]
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
    n_inputs = 9 * kernel**2 + 1
    gram = np.zeros((n_inputs, n_inputs))
    cross = np.zeros((n_inputs, 3 * block**2))
    inside = slice(1, 1 + block)
    for index in range(N_PATCHES // per_batch):
        noisy, _, clean = sampler.draw(index)
        x = np.ones((per_batch, n_inputs))
        x[:, :-1] = noisy.reshape(per_batch, -1).numpy()
        gram += x.T @ x
        cross += x.T @ clean[..., inside, inside].reshape(per_batch, -1).numpy()
    gram[np.diag_indices(n_inputs - 1)] += RIDGE * np.trace(gram) / n_inputs
    solution = np.linalg.solve(gram, cross)
    return solution[:-1].T, solution[-1]


def start(model: CIMNet, dataset: Dataset, *, sigma: float, seed: int, copies: int = 4) -> None:
    """Write the linear denoiser into a one-stage CIM-NET, in place.

    Every colour is written into ``copies`` channels and averaged by the last layer: independent
    programming errors of the copies average out too, and no single weight has to be large.

    Parameters
    ----------
    model : CIMNet
        One stage; its other weights stay random, those that touch the image get small.
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
    weight, bias = fit_patches(dataset, kernel=kernel, block=edge, sigma=sigma, seed=seed)
    n_image = 3 * copies
    with torch.no_grad():
        quieten(block, n_image)
        taps = torch.zeros_like(first.weight[: 3 * edge**2])
        taps[:, :9] = torch.from_numpy(weight).reshape(-1, 9, kernel, kernel).float()
        for copy in range(copies):
            rows = slice(copy * 3 * edge**2, (copy + 1) * 3 * edge**2)
            first.weight[rows] = taps
            first.bias[rows] = torch.from_numpy(bias).float()  # type: ignore[index]
        for colour in range(3):
            for y in range(edge):
                for x in range(edge):
                    row = (colour * edge + y) * edge + x
                    last.weight[row, colour:n_image:3, y + 1, x + 1] = 1 / copies


def quieten(block: CIMBlock, n_image: int) -> None:
    """Scale down the random weights that would drown the image handed through.

    ``n_image`` leading channels of the full-size map carry the image: the up path adds little to
    them, and the last layer reads little from everything.
    """
    edge = block.up1.block
    block.up1.fc.weight[: n_image * edge**2] *= QUIET
    block.smooth_out.fc.weight *= QUIET
