"""Arrays that kernels take: names, whose shapes stand in the docstrings, and memory."""

from __future__ import annotations

import math
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.number[Any]]
Floats: TypeAlias = NDArray[np.floating[Any]]
Single: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.unsignedinteger[Any]]
Bytes: TypeAlias = NDArray[np.uint8]
Packed: TypeAlias = NDArray[np.int8] | NDArray[np.float32]  # planes, see `products.pack`
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]
UInt64: TypeAlias = NDArray[np.uint64]
Places: TypeAlias = tuple[int, int, int]
Kind = TypeVar("Kind", bound=np.generic)

LINE = 64  # bytes of the caches, and of the widest register


def empty(shape: tuple[int, ...], dtype: type[Kind] | np.dtype[Kind]) -> NDArray[Kind]:
    """Return an array that begins at a line of the caches: a register that straddles two is slow.

    `numpy.empty` puts large arrays 16 bytes behind the beginning of a page.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(dtype).reshape(shape)
