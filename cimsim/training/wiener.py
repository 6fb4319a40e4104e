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
QUIET = 0.02  # size of the random weights that meet the image, against He's
THRESHOLDS = (0.5, 1.5, 3.0)  # of the shrinkage, in standard deviations of the noise


@dataclass(frozen=True, slots=True)
class PatchFit:
    """The linear least-squares map from noisy patches to clean blocks.

    Attributes
    ----------
    weight : ndarray [3 * block^2, 9 * kernel^2]
        Rows: colour, y, x of the block. Columns: channel, y, x of the patch.
    bias : ndarray [3 * block^2]
    mean : ndarray [9 * kernel^2]
        Mean patch.
    basis : ndarray [3 * block^2, 3 * block^2]
        Columns: principal components of clean blocks.
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    basis: npt.NDArray[np.float64]

    def shrinkage(
        self, noise: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return weights and biases of features that grow beyond the thresholds.

        One pair per principal component c and threshold t: ``relu(c - t)``, ``relu(-c - t)`` with
        ``c`` centred and ``t`` in units of what noise of standard deviation ``noise`` does to it.
        """
        rows = self.basis.T @ self.weight
        centre = rows @ self.mean
        spread = noise * np.linalg.norm(rows, axis=1)
        weights, biases = [], []
        for threshold in THRESHOLDS:
            for sign in (1.0, -1.0):
                weights.append(sign * rows)
                biases.append(-sign * centre - threshold * spread)
        return np.concatenate(weights), np.concatenate(biases)


def fit_patches(
    dataset: Dataset, *, kernel: int, block: int, sigma: float, seed: int
) -> PatchFit:
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
    second = np.zeros((n_outputs, n_outputs))
    inside = slice(1, 1 + block)
    for index in range(N_PATCHES // per_batch):
        noisy, _, clean = sampler.draw(index)
        x = np.ones((per_batch, n_inputs))
        x[:, :-1] = noisy.reshape(per_batch, -1).numpy()
        y = clean[..., inside, inside].reshape(per_batch, -1).double().numpy()
        gram += x.T @ x
        cross += x.T @ y
        second += y.T @ y
    count = float(gram[-1, -1])
    mean_x, mean_y = gram[-1, :-1] / count, cross[-1] / count
    gram[np.diag_indices(n_inputs - 1)] += RIDGE * np.trace(gram) / n_inputs
    solution = np.linalg.solve(gram, cross)
    covariance = second / count - np.outer(mean_y, mean_y)
    return PatchFit(solution[:-1].T, solution[-1], mean_x, np.linalg.eigh(covariance)[1])


def start(
    model: CIMNet,
    dataset: Dataset,
    *,
    sigma: float,
    seed: int,
    copies: int = 4,
    n_fit_crops: int = 3000,
) -> None:
    """Write the patch denoiser into a one-stage CIM-NET, in place.

    Every colour of the linear estimate is written into ``copies`` channels: independent
    programming errors of the copies average out, and no single weight has to be large. The other
    channels get the principal components of the estimate beyond thresholds of both signs, what
    a soft shrinkage is made of. The last layer is then fitted to the map it reads.

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
    n_fit_crops : int
        Crops for the fit of the last layer; 0 leaves it handing the linear estimate through.

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
        gain[:] = QUIET * 5  # type: ignore[index]
        gain[: 3 * copies * edge**2] = QUIET / 2  # type: ignore[index]
        block.smooth_out.fc.weight *= QUIET
        _fill(first, 0, np.tile(fit.weight, (copies, 1)), np.tile(fit.bias, copies))
        _fill(first, copies * len(fit.bias), *fit.shrinkage(sigma / 255))
        for colour in range(3):
            for y in range(edge):
                for x in range(edge):
                    row = (colour * edge + y) * edge + x
                    last.weight[row, colour : 3 * copies : 3, y + 1, x + 1] = 1 / copies
    if n_fit_crops:
        refit_last(block, dataset, sigma=sigma, seed=seed, n_crops=n_fit_crops)


def _fill(
    first: torch.nn.Conv2d, row: int, weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> None:
    """Write rows [n, 9 * K^2] and biases [n] into the first layer from ``row`` on, as fit."""
    n_rows = min(len(bias), first.out_channels - row)
    kernel = first.kernel_size[0]
    taps = torch.from_numpy(weight[:n_rows]).reshape(-1, 9, kernel, kernel).float()
    first.weight[row : row + n_rows] = torch.cat([taps, torch.zeros_like(taps[:, :1])], dim=1)
    first.bias[row : row + n_rows] = torch.from_numpy(bias[:n_rows]).float()  # type: ignore[index]


@torch.no_grad()
def refit_last(
    block: CIMBlock,
    dataset: Dataset,
    *,
    sigma: float,
    seed: int,
    n_crops: int,
    ridge: float = 1e-5,
) -> None:
    """Fit the last CIM-CONV by least squares to the map that it reads, in place.

    Ridge regression towards the present weights: a weight that the data say nothing about stays.

    Parameters
    ----------
    block : CIMBlock
        In training mode, batch norms see the crops' own statistics.
    dataset : Dataset
    sigma : float
        Noise in 8-bit steps.
    seed : int
    n_crops : int
        Number of crops of 8 x 8 blocks.
    ridge : float
        Relative to the mean diagonal of the Gram matrix.
    """
    last, edge = block.smooth_out.fc, block.smooth_out.block
    per_batch, crop = 20, 8 * max(edge, 4)
    sampler = Sampler(
        dataset,
        n_frames=3,
        crop=crop,
        batch=per_batch,
        sigma=(sigma, sigma),
        stills=0.2,
        seed=seed + 1,
    )
    n_inputs = last.weight[0].numel() + 1
    gram = torch.zeros((n_inputs, n_inputs), dtype=torch.float64)
    cross = torch.zeros((n_inputs, last.out_channels), dtype=torch.float64)
    captured: list[torch.Tensor] = []
    hook = block.smooth_out.register_forward_pre_hook(lambda _, args: captured.append(args[0]))
    try:
        for index in range(-(-n_crops // per_batch)):
            noisy, noise_map, clean = sampler.draw(index)
            block(noisy, noise_map)
            x = functional.unfold(captured.pop(), last.kernel_size, padding=1, stride=last.stride)
            x = functional.pad(x.transpose(1, 2).reshape(-1, n_inputs - 1), (0, 1), value=1.0)
            y = functional.unfold(clean, edge, stride=edge).transpose(1, 2).reshape(len(x), -1)
            gram += (x.T @ x).double()
            cross += (x.T @ y).double()
    finally:
        hook.remove()
    old = torch.cat([last.weight.reshape(last.out_channels, -1), last.bias[:, None]], dim=1)  # type: ignore[index]
    strength = ridge * gram.diagonal().mean()
    gram.diagonal().add_(strength)
    solution = torch.linalg.solve(gram, cross + strength * old.T.double()).T.float()
    last.weight.copy_(solution[:, :-1].reshape(last.weight.shape))
    last.bias.copy_(solution[:, -1])  # type: ignore[union-attr]
