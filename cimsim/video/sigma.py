"""How noisy a clip is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt

FRAMES = 8
"""Frames that are looked at."""
MEANING = "noise and fine texture as sigma"


def estimate_sigma(frames: Iterable[npt.NDArray[np.generic]]) -> float:
    """Estimate the standard deviation of white Gaussian noise, in 8-bit steps.

    scikit-image's robust median of the finest diagonal wavelet coefficients (Donoho and Johnstone,
    Biometrika 81(3), 1994): mean over channels, median over at most `FRAMES` frames. Fine texture
    raises it, compression and clipping lower it; noise that depends on brightness or is correlated
    from pixel to pixel has no one sigma.

    Parameters
    ----------
    frames : iterable of ndarray, shape (H, W, C)
        uint8, or floats in [0, 1].
    """
    from skimage.restoration import estimate_sigma

    sigmas = []
    for frame in islice(frames, FRAMES):
        floats = frame.astype(np.float32)
        floats = floats / np.float32(255) if frame.dtype == np.uint8 else floats
        with warnings.catch_warnings():
            # of a flat picture no coefficient is left; the estimate is then NaN
            warnings.simplefilter("ignore", RuntimeWarning)
            each = estimate_sigma(  # type: ignore[no-untyped-call]
                floats.astype(np.float64), channel_axis=-1, average_sigmas=True
            )
        sigmas.append(float(np.nan_to_num(each)))
    return 255 * float(np.median(sigmas))
