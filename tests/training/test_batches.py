from __future__ import annotations

import time

import torch

from cimsim.training.batches import Batches


class Slow:
    """Draws later batches faster than earlier ones."""

    def __init__(self):
        self.drawn = []

    def draw(self, step):
        time.sleep(0.02 / (step + 1))
        self.drawn.append(step)
        return tuple(torch.full((1,), float(10 * step + part)) for part in range(3))


def test_threads_never_change_a_batch():
    plain, ahead = Batches(Slow(), 0), Batches(Slow(), 3)
    for step in (0, 1, 2, 3, 4, 9, 10, 2, 3):  # a jump throws away what was drawn ahead
        for a, b in zip(plain.get(step), ahead.get(step), strict=True):
            assert a.equal(b)
    ahead.close()
    assert plain.sampler.drawn == [0, 1, 2, 3, 4, 9, 10, 2, 3]
    assert set(ahead.sampler.drawn) > set(plain.sampler.drawn)  # it did draw ahead
