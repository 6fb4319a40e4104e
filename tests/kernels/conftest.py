import numpy as np
import pytest

from cimsim.kernels.normals import counters
from cimsim.kernels.normals import normals as draw_normals


def normals(windows, n, key=7, first=0, stage=0):
    """Return what the kernel draws for some windows, [windows, n]."""
    out = np.empty((windows, n), np.float32)
    words = np.empty(out.size, np.uint32)
    numbers = np.empty((2, windows, n // 4), np.uint64)
    counters(*numbers)
    draw_normals(
        out.reshape(-1), words, tuple(numbers.reshape(2, -1)), np.uint64(first), np.uint64(stage),
        np.uint64(key),
    )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def draw():
    return normals
