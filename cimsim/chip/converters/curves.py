"""Static non-linearity of converters and drivers as curves, drawn for each of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

POINTS = 257


def inl_curves(
    n: int, bow_lsb: float, steps_lsb: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw the static integral non-linearity of ``n`` converters, in steps.

    Each curve is 0 at both ends: a bow ``4 h t (1 - t)`` with normal ``h`` of rms ``bow_lsb``, plus
    a random walk pinned at both ends (independent errors of the single steps), whose rms over
    converters and codes is ``steps_lsb``.

    Returns
    -------
    float32 [n, 257]
        At 257 points evenly over the range; straight in between. [0, 0] if both are 0.
    """
    if bow_lsb == 0 and steps_lsb == 0:
        return np.empty((0, 0), np.float32)
    t = np.arange(POINTS) / (POINTS - 1)
    bow = bow_lsb * rng.standard_normal((n, 1)) * 4 * t * (1 - t)
    walk = np.concatenate(
        [np.zeros((n, 1)), np.cumsum(rng.standard_normal((n, POINTS - 1)), axis=1)], axis=1
    )
    # a pinned walk of m unit steps has the variance m t (1 - t) at t
    bridge = walk - t * walk[:, -1:]
    mean = float(np.mean((POINTS - 1) * t * (1 - t)))
    curves: NDArray[np.float32] = (bow + steps_lsb / math.sqrt(mean) * bridge).astype(np.float32)
    return curves


def bows(n: int, bow_lsb: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw bows ``4 h t (1 - t)`` with normal ``h`` of rms ``bow_lsb``, [n, `POINTS`]."""
    t = np.arange(POINTS) / (POINTS - 1)
    return bow_lsb * rng.standard_normal((n, 1)) * 4 * t * (1 - t)


def pinned(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take away the straight line between both ends: gain and offset are told apart."""
    t = np.arange(curves.shape[1]) / (curves.shape[1] - 1)
    ends = curves[:, :1], curves[:, -1:]
    level: NDArray[np.float64] = curves - ends[0] - t * (ends[1] - ends[0])
    return level
