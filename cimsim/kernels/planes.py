"""Matrices as 8-bit planes for the integer product: conductances in 16 bits, variances in 7."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cimsim.kernels.arrays import Floats, Packed
from cimsim.kernels.products import pack

LARGEST = 127 * 256 + 127  # of a number in two signed planes


@dataclass(frozen=True, eq=False)
class Planes:
    """A matrix as packed planes: ``unit * (256 * high + low)``, or ``unit * low``.

    Attributes
    ----------
    high, low : ndarray
        From `cimsim.kernels.products.pack`; high is of size 0 where one plane is enough.
    unit : float
        Value of one step.
    n_cols : int
    """

    high: Packed
    low: Packed
    unit: float
    n_cols: int


def signal_planes(matrix: Floats) -> Planes | None:
    """Return a matrix as fixed point of 16 bits.

    The step is a power of two, so whole numbers stay whole; it is at most ``2**-14`` of the largest
    element, so rounding errs by less than ``2**-15`` of it.

    Parameters
    ----------
    matrix : [n_rows, n_cols]

    Returns
    -------
    Planes or None
        None when the largest element exceeds `LARGEST` and whole numbers would be rounded.
    """
    largest = float(np.abs(matrix).max(initial=0.0))
    if largest > LARGEST:
        return None
    exact = matrix.astype(np.float64)
    if largest <= 127 and (exact == np.rint(exact)).all():
        return _single(exact, 1.0)
    # the exponent that fills the planes and does not overflow when the largest is rounded up
    exponent = math.floor(math.log2(LARGEST / largest))
    whole = np.rint(np.ldexp(exact, exponent)).astype(np.int32)
    low = ((whole + 128) & 255) - 128
    high = (whole - low) >> 8
    unit = math.ldexp(1.0, -exponent)
    return Planes(pack(high.astype(np.int8)), pack(low.astype(np.int8)), unit, matrix.shape[1])


def variance_planes(matrix: Floats) -> Planes:
    """Return variances >= 0 in one plane: rounded to 1/127 of the largest."""
    largest = float(matrix.max(initial=0.0))
    unit = largest / 127 if largest > 0 else 1.0
    return _single(np.rint(matrix / unit), unit)


def _single(whole: Floats, unit: float) -> Planes:
    low = pack(whole.astype(np.int8))
    return Planes(np.empty((0,) * low.ndim, low.dtype), low, unit, whole.shape[1])
