"""Round weights to integers so that the layer's output errs least on real inputs.

Rounding each weight to the nearest integer errs most where many small weights act on correlated
inputs: their errors add up. Rounding row after row and moving each row's error onto the rows that
are still to come, weighted by how their inputs go together, cancels most of it (optimal brain
quantisation in the fast form of Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, lapack

from cimsim.arrays.encode import encode_weights
from cimsim.engine.samples import Samples
from cimsim.engine.workers import workers
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.mapping import Mapping, PlacedLayer

DAMPING = 0.01  # of the mean input power: keeps rows apart that the samples cannot tell apart
MAX_ROWS = 2048  # rows rounded together; beyond, independent chunks
MIN_WINDOWS = 32  # fewer say nothing about correlations
_BLOCK = 64

Integers = dict[str, NDArray[np.int32]]


def round_to_inputs(
    mapping: Mapping, samples: MappingABC[str, Samples], threads: int | None = None
) -> Integers:
    """Choose the integers of every programmed matrix by its inputs on the calibration frames.

    Parameters
    ----------
    mapping : Mapping
    samples : mapping of str to Samples
        By operation, from `cimsim.engine.samples.collect`.
    threads : int, optional
        All cores by default; does not change a bit of the result.

    Returns
    -------
    dict of str to int32 [groups, rows, cols]
        By layer name; layers with fewer than `MIN_WINDOWS` sampled windows are left out and are
        rounded to nearest.
    """
    # one BLAS thread each: many small solves only wait for each other on more
    with workers(threads) as (pool, _):
        found = pool.map(lambda layer: _round_layer(mapping, layer, samples), mapping.layers)
        pairs = zip(mapping.layers, found, strict=True)
        return {layer.name: q for layer, q in pairs if q is not None}


def _round_layer(
    mapping: Mapping, layer: PlacedLayer, samples: MappingABC[str, Samples]
) -> NDArray[np.int32] | None:
    spec, op = mapping.chip.weights, mapping.graph[layer.ops[0]]
    if not isinstance(op, MatrixOp):
        raise SimulationError(f"layer '{layer.name}': '{op.name}' has no matrix")
    x = np.concatenate([part for name in layer.ops for part in samples[name].vectors])
    if len(x) < MIN_WINDOWS:
        return None
    _, scales = encode_weights(op.weight, spec.q_max, spec.scale)
    steps = scales.reshape(op.groups, op.group_cols)
    inputs = x.reshape(len(x), op.groups, op.group_rows)
    groups = range(op.groups)
    return np.stack(
        [_round_matrix(op.weight[g] / steps[g], inputs[:, g], spec.q_max) for g in groups]
    )


def _round_matrix(
    target: NDArray[np.float64], inputs: NDArray[np.float32], q_max: int
) -> NDArray[np.int32]:
    """Round [rows, cols] in chunks of rows; ``inputs`` [n, rows]."""
    chunks = [
        round_rows(target[start : start + MAX_ROWS], inputs[:, start : start + MAX_ROWS], q_max)
        for start in range(0, len(target), MAX_ROWS)
    ]
    return np.concatenate(chunks)


def round_rows(
    target: NDArray[np.float64], inputs: NDArray[np.float32], q_max: int
) -> NDArray[np.int32]:
    """Round a matrix so that ``inputs @ (target - result)`` is small.

    Parameters
    ----------
    target : float64 [rows, cols]
        Weights in units of a step.
    inputs : float32 [n, rows]
        What the rows are multiplied by.
    q_max : int
        Largest magnitude of the result.

    Returns
    -------
    int32 [rows, cols]
    """
    power = inputs.astype(np.float64)
    power = power.T @ power
    power[np.diag_indices_from(power)] += DAMPING * np.mean(np.diag(power)) + 1e-12
    # rows with strong inputs first: later rows are left to make up for them
    order = np.argsort(-np.diag(power), kind="stable")
    factor = cholesky(power[np.ix_(order, order)], lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    spread = cholesky(inverse, lower=False, overwrite_a=True)
    left = np.array(target, np.float64)[order]
    rounded = np.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        errors = np.empty((stop - start, left.shape[1]))
        for row in range(start, stop):
            rounded[row] = np.clip(np.rint(left[row]), -q_max, q_max)
            errors[row - start] = (left[row] - rounded[row]) / spread[row, row]
            left[row:stop] -= np.outer(spread[row, row:stop], errors[row - start])
        left[stop:] -= spread[start:stop, stop:].T @ errors
    result = np.empty(left.shape, np.int32)
    result[order] = rounded
    return result
