"""Picture quality on a real clip moves the right way with converters and cells: 5 chips each."""

import functools
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.analog.sweep import AXES, STEMS, measure

pytestmark = pytest.mark.slow
SEEDS, FRAMES, SIZE = 5, 1, 96


@functools.cache
def scores(seed):
    """PSNR of every chip of one seed, dB: what is learned from the inputs is learned once."""
    wanted = {
        "adc.bits": (4.0, 5.0, 6.0, 8.0),
        "device.sigma_program": (4.0, 2.5, 0.5),
        "device.sigma_read": (4.0, 2.0, 0.5),
    }
    assert all(set(values) <= set(AXES[field].values) for field, values in wanted.items())
    return {
        field: [
            measure((STEMS[0], field, v, seed, FRAMES, SIZE), threads=1).chip_db for v in values
        ]
        for field, values in wanted.items()
    }


@pytest.mark.parametrize("field", ["adc.bits", "device.sigma_program", "device.sigma_read"])
def test_quality_rises_as_the_chip_gets_better(field):
    levels = np.array([scores(seed)[field] for seed in range(SEEDS)])
    means = levels.mean(axis=0)
    assert all(after > before for before, after in pairwise(means)), means
    # the same seeds on both sides: the gain from worst to best is beyond 4 standard errors
    gain = levels[:, -1] - levels[:, 0]
    assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(SEEDS)
    # a converter that loses four bits costs much more than 0.5 dB; noise of 4 % is seen as well
    assert gain.mean() > (2.0 if field == "adc.bits" else 0.3)
