"""The fluctuation of single cells, read after read: synthesised series, no closed form."""

import numpy as np

OVERSAMPLED = 4  # points of a read


def flicker(cells, reads, rng):
    """1/f noise averaged over reads that follow each other without a pause.

    Fourier sums of independent amplitudes, down to one period in the whole series.

    Returns
    -------
    float64 [cells, reads]
        Of the one-sided density ``1 / f``: not normalised.
    """
    n = OVERSAMPLED * reads
    ends = np.arange(1, n // 2 + 1) + 0.5
    power = np.diff(np.log(np.concatenate([[1.0], ends])))  # the integral of 1 / f over each line
    shape = (cells, n // 2)
    lines = np.sqrt(power) * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    series = np.fft.irfft(np.concatenate([np.zeros((cells, 1)), lines * n / 2], axis=1), n, axis=1)
    return series.reshape(cells, reads, OVERSAMPLED).mean(axis=2)


def telegraph(cells, reads, corner, rng):
    """Cells that jump between -1 and 1; ``corner`` in units of one over a read's duration."""
    # switched pi * corner times per unit of time: the correlation falls as exp(-2 pi corner t)
    fine = 16
    flips = rng.random((cells, reads * fine)) < -np.expm1(-2 * np.pi * corner / fine) / 2
    start = rng.integers(0, 2, (cells, 1))
    state = 1.0 - 2.0 * ((start + np.cumsum(flips, axis=1)) % 2)
    return state.reshape(cells, reads, fine).mean(axis=2)


def layer_errors(series, codes, bits_per_pulse):
    """Errors of the outputs of a layer whose cells fluctuate, read by read.

    Parameters
    ----------
    series : callable
        ``series(row) -> float [cols, reads]``: the cells of a row.
    codes : int [windows, rows]
        8-bit inputs; pulses follow each other, the least significant first.

    Returns
    -------
    float [windows, cols]
    """
    windows, rows = codes.shape
    shifts = range(0, 8, bits_per_pulse)
    total = 0.0
    for row in range(rows):
        cells = series(row)[:, : windows * len(shifts)]
        cells = cells.reshape(len(cells), windows, len(shifts))
        for pulse, shift in enumerate(shifts):
            x = (codes[:, row] >> shift & (2**bits_per_pulse - 1)) << shift
            total = total + x[:, None] * cells[:, :, pulse].T
    return total
