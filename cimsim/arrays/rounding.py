"""Round weights to integers so that the layer's output errs least on real inputs.

Rounding each weight to the nearest integer errs most where many small weights act on correlated
inputs: their errors add up. Rounding row after row and moving each row's error onto the rows that
are still to come, weighted by how their inputs go together, cancels most of it (optimal brain
quantisation in the fast form of Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, lapack

DAMPING = 0.01  # of the mean input power: keeps rows apart that the samples cannot tell apart
MAX_ROWS = 2048  # rows rounded together; beyond, independent chunks
_BLOCK = 64


def round_matrix(
    target: NDArray[np.float64], inputs: NDArray[np.float32], q_max: int
) -> NDArray[np.int32]:
    """Round a matrix of any height, in chunks of `MAX_ROWS` rows; as `round_rows`."""
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
