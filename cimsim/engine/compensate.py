"""Drift compensation: what a chip takes back of the currents that its aged cells have lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.programmed import ProgrammedArray
from cimsim.engine.program import PlacedArray, ProgrammedLayer, ProgrammedMapping
from cimsim.rng import stream


def scaled_globally(
    fresh: ProgrammedMapping, aged: ProgrammedMapping, seed: int
) -> ProgrammedMapping:
    """Multiply what each array gives by one factor, so that it reads as large as when it was new.

    Each row is driven alone, once right after programming and once at the time of the conditions;
    the factor of an array is the mean magnitude of what its columns gave then over what they give
    now. It is applied to the converted numbers, and so takes back neither what a converter has
    rounded away nor what one cell has lost more than another. Both readings have read noise.

    Source: global drift compensation, V. Joshi et al., Nature Communications 11, 2473 (2020), as it
    is done in IBM's AIHWKit (one input at a time, mean magnitude of all outputs).

    Parameters
    ----------
    fresh, aged : ProgrammedMapping
        The same cells right after programming and at the time of the conditions.
    seed : int
        Of the read noise.
    """
    layers = {}
    for name, layer in aged.layers.items():
        arrays = tuple(
            _scaled(before, after, seed, name, index)
            for index, (before, after) in enumerate(
                zip(fresh.layers[name].arrays, layer.arrays, strict=True)
            )
        )
        layers[name] = ProgrammedLayer(
            layer.name, layer.weight, layer.scales, arrays, layer.windows
        )
    return ProgrammedMapping(aged.mapping, aged.device, layers)


def _scaled(
    before: PlacedArray, after: PlacedArray, seed: int, name: str, index: int
) -> PlacedArray:
    then = _mean_magnitude(before.written, stream(seed, "compensate", name, index, 0))
    now = _mean_magnitude(after.written, stream(seed, "compensate", name, index, 1))
    factor = then / now if now > 0 else 1.0  # an array without any current has nothing to scale
    factors = tuple(factor * part for part in after.written.factors)
    return replace(after, written=replace(after.written, factors=factors))


def _mean_magnitude(array: ProgrammedArray, rng: np.random.Generator) -> float:
    """Return the mean magnitude of all columns when one row after the other is driven fully."""
    read: NDArray[np.float64] = array.difference.astype(np.float64)
    if array.read_variance is not None:
        read = read + np.sqrt(array.read_variance) * rng.standard_normal(read.shape)
    if array.reference_variance is not None:
        shared = np.sqrt(array.reference_variance) * rng.standard_normal(
            array.reference_variance.shape
        )
        read = read + np.repeat(shared, array.n_cols, axis=1)
    return float(np.abs(read).mean())
