"""Threads for blocks of windows: one pool at a time, with single-threaded products in it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


@contextmanager
def workers(threads: int | None = None) -> Iterator[tuple[Executor, int]]:
    """Yield (pool, number of threads) while BLAS and torch are held to one thread per call.

    Threads of torch that have run out of work spin for a while and would take cores from the pool.

    Parameters
    ----------
    threads : int, optional
        All cores that this process may use by default.
    """
    number = threads or cores()
    with (
        _controller().limit(limits=1, user_api="blas"),
        one_torch_thread(),
    ):
        yield _pool(number), number


@functools.cache
def _pool(number: int) -> Executor:
    """Return threads that stay: new ones would start with cold memory in every call."""
    return ThreadPoolExecutor(number, thread_name_prefix="cimsim")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute with one thread: with more, the last bit of a sum depends on how many."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _controller() -> ThreadpoolController:
    """Return the handle on the BLAS libraries; finding them takes milliseconds, so once."""
    # each brings a BLAS of its own, which must be loaded before it is looked for
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
