"""Named random streams: a draw depends on what it is for, never on the order of drawing."""

from __future__ import annotations

import functools
import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return an independent generator for one purpose.

    Parameters
    ----------
    seed : int
        The seed of the run, >= 0.
    *names : str or int
        What the numbers are for, such as ``("program", "inc.conv1", 0)``.

    Returns
    -------
    numpy.random.Generator
        The same bits for the same arguments on every machine.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key(*names)])))


@functools.lru_cache(maxsize=4096, typed=True)  # frame after frame asks for the same ones
def key(*names: str | int) -> int:
    """Return a 64-bit key that is stable across processes (unlike ``hash``)."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
