"""What a keyword network hears: mel-frequency cepstra of one second.

Davis and Mermelstein, IEEE Trans. ASSP 28(4), 1980, in the form of the Hidden Markov Toolkit (HTK):

1. The recording is cut or padded with silence to one second, its middle in the middle, and divided
   by its root mean square, so that loudness does not matter.
2. 49 frames of 40 ms, one every 20 ms, each under a Hann window; power spectrum of 512 points.
3. 40 triangles, evenly spaced between 20 Hz and half the rate on the mel scale
   ``2595 log10(1 + f / 700)``, height 1; natural logarithm of each sum plus `FLOOR`.
4. Orthonormal DCT-II of the 40 logarithms; the first 10 coefficients.

On the chip a processor beside the arrays does this; neither its time nor its energy is modelled.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, rfft
from scipy.signal import get_window

from cimsim.errors import InputError

RATE = 8000  # samples a second
FRAME, HOP, POINTS = 320, 160, 512
BANDS, COEFFICIENTS, LOWEST_HZ = 40, 10, 20.0
FRAMES = (RATE - FRAME) // HOP + 1
FLOOR = 0.1  # some 30 dB below a band of the loudest frames
_SILENT = 1e-8


def cepstra(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cepstra [`FRAMES`, `COEFFICIENTS`] of one recording.

    Parameters
    ----------
    samples : float32 [n]
        At `RATE`.

    Raises
    ------
    InputError
        No samples, more than one channel, or values that are not finite.
    """
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise InputError(
            f"recording: expected finite samples of one channel, got {list(samples.shape)}"
        )
    second = centred(np.asarray(samples, np.float64))
    second /= max(np.sqrt(np.mean(np.square(samples, dtype=np.float64))), _SILENT)
    frames = np.lib.stride_tricks.sliding_window_view(second, FRAME)[::HOP]
    power = np.abs(rfft(frames * get_window("hann", FRAME), POINTS)) ** 2
    logs = np.log(power @ triangles().T + FLOOR)
    coefficients: NDArray[np.float32] = np.asarray(
        dct(logs, type=2, norm="ortho", axis=1)[:, :COEFFICIENTS], np.float32
    )
    return coefficients


def centred(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut or pad to one second, the middle in the middle."""
    spare = RATE - len(samples)
    if spare < 0:
        return samples[-spare // 2 : -spare // 2 + RATE].copy()
    return np.pad(samples, (spare // 2, spare - spare // 2))


@lru_cache(maxsize=1)
def triangles() -> NDArray[np.float64]:
    """Return the weight of each bin in each band, [`BANDS`, bins]."""
    low_mel, high_mel = (2595 * math.log10(1 + f / 700) for f in (LOWEST_HZ, RATE / 2))
    corners = 700 * (10 ** (np.linspace(low_mel, high_mel, BANDS + 2) / 2595) - 1)
    bins = np.arange(POINTS // 2 + 1) * RATE / POINTS
    low, middle, high = (corners[i : i + BANDS, None] for i in range(3))
    sides = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    weights: NDArray[np.float64] = np.clip(sides, 0, 1)
    return weights
