"""Names of the arrays that kernels take; their shapes stand in the docstrings."""

from __future__ import annotations

from typing import Any, TypeAlias

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
