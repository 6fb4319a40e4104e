"""Threads for blocks of windows: one pool at a time, with single-threaded products in it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def workers(threads: int | None = None) -> Iterator[tuple[Executor, int]]:
    """Yield (pool, number of threads) while BLAS is held to one thread per call.

    Parameters
    ----------
    threads : int, optional
        All cores that this process may use by default.
    """
    number = threads or len(os.sched_getaffinity(0))
    with _controller().limit(limits=1, user_api="blas"), ThreadPoolExecutor(number) as pool:
        yield pool, number


@functools.cache
def _controller() -> Any:
    """Return the handle on the BLAS libraries; finding them takes milliseconds, so once."""
    # each brings a BLAS of its own, which must be loaded before it is looked for
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
