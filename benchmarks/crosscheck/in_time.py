"""Single cells in small steps of time: slow, and sharing no code with cimsim's engine.

A window is read for `STEPS` steps. In each step every cell conducts its conductance and white noise
of its own, whose mean over the window has the stated size; the currents of a column are added one
step after another as a capacitor does, and what it holds in the end is converted.
"""

from __future__ import annotations

import numpy as np

from benchmarks.crosscheck.cases import COLS, ROWS, Case, Floats

STEPS = 32


def run(case: Case, weights: Floats, inputs: Floats, seed: int) -> Floats | None:
    """Return sums [windows, cols] in units of weight times input; None where not modelled."""
    if case.days is not None:
        return None
    rng = np.random.default_rng(seed)
    top = float(np.abs(weights).max())
    cells = np.stack([np.maximum(weights, 0), np.maximum(-weights, 0)]) / top  # of full scale
    written = np.maximum(cells + case.programming * rng.standard_normal(cells.shape), 0.0)
    sums = np.zeros((len(inputs), COLS))
    per_step = case.reading * np.sqrt(STEPS)
    for window, applied in enumerate(inputs):
        charge = np.zeros((2, COLS))
        for _ in range(STEPS):
            now = written
            if per_step:
                now = written + per_step * rng.standard_normal(written.shape)
            for line in range(2):
                charge[line] += applied @ now[line] / STEPS
        sums[window] = (charge[0] - charge[1]) * top
    if case.adc_bits:
        exact = inputs @ weights
        low, high = float(exact.min()), float(exact.max())
        step = (high - low) / (2**case.adc_bits - 1)
        sums = low + step * np.clip(np.rint((sums - low) / step), 0, 2**case.adc_bits - 1)
    assert weights.shape == (ROWS, COLS)
    return sums
