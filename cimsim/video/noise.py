"""Additive white Gaussian noise, the same bits for the same seed and frame number."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cimsim import rng
from cimsim.errors import InputError


def add_awgn(
    clean: npt.NDArray[np.float32], sigma: float, seed: int, first_frame: int = 0
) -> npt.NDArray[np.float32]:
    """Add independent Gaussian noise to each sample, without clipping.

    The noise of a frame depends only on the seed, the frame's number and its size: taking fewer
    frames, or the clip in pieces with `first_frame` set, gives the same bits.

    Parameters
    ----------
    clean : ndarray of float32, shape (T, H, W, C)
        Frames in [0, 1].
    sigma : float
        Standard deviation on the scale of 8-bit values (0..255), >= 0.
    seed : int
        Seed of the run, >= 0.
    first_frame : int
        Number of ``clean[0]`` in its clip, >= 0.

    Returns
    -------
    ndarray of float32, shape (T, H, W, C)
        ``clean + sigma / 255 * n`` with ``n ~ N(0, 1)``; values below 0 and above 1 stay.

    Raises
    ------
    InputError
        For a negative or infinite `sigma`, a negative `seed` or frames that are not float32.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma: expected a number >= 0 (scale 0..255), got {sigma}")
    if seed < 0:
        raise InputError(f"seed: expected an integer >= 0, got {seed}")
    if first_frame < 0:
        raise InputError(f"first_frame: expected an integer >= 0, got {first_frame}")
    if clean.dtype != np.float32 or clean.ndim != 4:
        raise InputError(
            f"add_awgn: expected float32 frames of shape (T, H, W, C), got {clean.dtype} of shape "
            f"{clean.shape}"
        )
    noisy = np.empty_like(clean)
    scale = np.float32(sigma / 255)
    for index, frame in enumerate(clean):
        generator = rng.stream(seed, "awgn", first_frame + index)
        unit = generator.standard_normal(frame.shape, dtype=np.float32)
        np.add(frame, scale * unit, out=noisy[index])
    return noisy
