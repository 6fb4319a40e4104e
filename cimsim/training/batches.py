"""Batches in order, drawn ahead by threads when asked."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from cimsim.training.data import Sampler

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Batches:
    """Hands out the batches of a `Sampler` one after another.

    A batch depends on its number alone, so threads that draw ahead never change one.

    Parameters
    ----------
    sampler : Sampler
    workers : int
        Threads; 0 draws each batch when it is asked for.
    """

    def __init__(self, sampler: Sampler, workers: int) -> None:
        self.sampler = sampler
        self.pool = ThreadPoolExecutor(workers, "batches") if workers else None
        self.ahead = 2 * workers
        self.waiting: deque[tuple[int, Future[Batch]]] = deque()

    def get(self, step: int) -> Batch:
        """Return batch ``step``; the following ones are expected next."""
        if self.pool is None:
            return self.sampler.draw(step)
        if not self.waiting or self.waiting[0][0] != step:
            for _, future in self.waiting:
                future.cancel()
            self.waiting.clear()
        following = self.waiting[-1][0] + 1 if self.waiting else step
        for number in range(following, step + self.ahead + 1):
            self.waiting.append((number, self.pool.submit(self.sampler.draw, number)))
        return self.waiting.popleft()[1].result()

    def close(self) -> None:
        """Stop the threads."""
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
