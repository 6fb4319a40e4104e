"""A metric of frames: how much the error of a pixel changes from one frame to the next."""

import numpy as np

from cimsim.api import AbstractMetric


class Flicker(AbstractMetric):
    """Root mean square of the difference between the errors of consecutive frames."""

    name = "flicker"
    unit = "1"
    meaning = "rms change of the error from frame to frame"

    def __init__(self):
        self.before = None

    def of(self, truth, answer):
        """Return the mean square of one step."""
        error = answer.astype(np.float64) - truth
        step = 0.0 if self.before is None else np.mean((error - self.before) ** 2)
        self.before = error
        return step

    def total(self, values):
        """Return the root over all steps."""
        return np.sqrt(sum(values) / max(len(values) - 1, 1))
