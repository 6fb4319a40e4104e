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
    spread = _spread(power, order)
    left = np.array(target, np.float64)[order]
    rounded = np.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        errors = np.empty((stop - start, left.shape[1]))
        for row in range(start, stop):
            before = row - start
            wanted = left[row] - spread[start:row, row] @ errors[:before]
            rounded[row] = np.clip(np.rint(wanted), -q_max, q_max)
            errors[before] = (wanted - rounded[row]) / spread[row, row]
        left[stop:] -= spread[start:stop, stop:].T @ errors
    result = np.empty(left.shape, np.int32)
    result[order] = rounded
    return result


def _spread(power: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the upper triangle U with ``U.T @ U`` the inverse of ``power`` in an order of rows.

    With the rows in the opposite order ``power`` is ``L @ L.T``; read backwards, L is an upper
    triangle, and U is its inverse. One factor and one inverse of a triangle are half the work of
    inverting ``power`` and factoring the inverse.
    """
    back = order[::-1]
    # symmetric, so its transpose is a matrix in the order of LAPACK that need not be copied
    lower = cholesky(power[np.ix_(back, back)].T, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = lapack.dtrtri(lower, lower=1, overwrite_c=1)
    return np.ascontiguousarray(inverse[::-1, ::-1])
